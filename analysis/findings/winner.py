"""What the chosen configuration is worth on other examples, and which to keep where cost counts.

`winner(found)` says what the choice is worth, how stable it is and what is cheapest within one standard error of it;
`against_best(found)` which configurations the examples separate from it; `best_per_level(found)`,
`metric_agreement(found)` and `metric_winners(found)` how the answer hangs on an axis or a metric. Each returns frozen
dataclasses, `frame(rows)` a DataFrame of them; `analysis.findings.choice` puts it in words and makes the notes on each
row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.comparison.candidates import Candidate, candidates, rank
from analysis.comparison.comparison import Comparison
from analysis.findings.sentences import FEW_TO_CHOOSE
from analysis.statistics.multiple_testing import ALPHA, Array, flips_for, holm, sign_flips
from analysis.statistics.paired import FEWEST_EXAMPLES, SAME, paired
from analysis.statistics.winner_curse import RESAMPLES, Selection, resample_selection, spearman
from search_spaces.spreads import Choice
from trainables.metric_table import LOSS, LOWER_IS_BETTER, metric_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Frequency:
    """How often a configuration is the best over resamples of the examples that the choice is made on."""

    name: str
    selection: float
    share: float


@dataclass(frozen=True)
class ConfigurationCost:
    """What a configuration costs; `difference` is its score minus the best one's, where the choice is made."""

    name: str
    selection: float
    difference: float
    standard_error: float  # of the paired difference
    lora_rank: int
    trainable_parameters: int | None
    peak_memory_bytes: int | None
    wall_s: float | None


@dataclass(frozen=True)
class Winner:
    """The choice: `raw` is its score where it was chosen, which is optimistic; `estimate` is what it is worth.

    With two splits the estimate is its mean on the reported one, with a t interval. With one split for both it is the
    bias-corrected bootstrap's, with a percentile interval. `corrected` is that of the split of the choice in any case.
    Scores are in the metric's own unit. `detectable` and `needed` are of the best and the runner-up, on the reported
    split: the smallest true difference found with 80% power, and the examples that would show the one seen.
    """

    name: str
    metric: str
    selection_split: str
    split: str
    n_selection: int
    n: int
    raw: float
    corrected: float
    estimate: float
    low: float
    high: float
    frequencies: tuple[Frequency, ...]
    runner_up: str | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    detectable: float | None
    needed: int | None
    affordable: tuple[ConfigurationCost, ...]  # within one standard error of the best, the cheapest first

    @property
    def has_interval(self) -> bool:
        """Whether there are enough examples, and enough unlike, for the interval to mean something."""
        return self.n >= FEWEST_EXAMPLES and self.high - self.low > SAME

    @property
    def is_weighed(self) -> bool:
        """Whether enough examples chose to say how often each would be chosen, and what is as good for less."""
        return len(self.frequencies) > 1 and self.n_selection >= FEW_TO_CHOOSE

    @property
    def is_same_set(self) -> bool:
        return self.selection_split == self.split

    @property
    def optimism(self) -> float:
        """How much better than its worth the raw best looks; positive is too good, for a loss too."""
        return (self.raw - self.corrected) * _sign(self.metric)

    @property
    def cheapest(self) -> ConfigurationCost | None:
        return self.affordable[0] if self.affordable else None


@dataclass(frozen=True)
class AgainstBest:
    """A configuration against the best, on the reported split: the best minus it, Holm over all of them."""

    name: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def is_separable(self) -> bool:
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class BestOfLevel:
    """The best configuration among those with one value of an axis, by the deciding metric where the choice is made."""

    axis: str
    level: Any
    configurations: int
    best: str
    selection: float
    mean: float  # of all configurations with this value


@dataclass(frozen=True)
class Agreement:
    """How alike two metrics rank the configurations where the choice is made, and whom each would choose."""

    first: str
    second: str
    spearman: float
    first_winner: str
    second_winner: str


def frame(rows: Iterable[Any]) -> pd.DataFrame:
    """Return frozen dataclasses of one kind as a data frame."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows])


def winner(found: Comparison, resamples: int = RESAMPLES, seed: int = 0) -> Winner | None:
    """Return what the choice is worth and how far it holds; None where nothing has finished."""
    if found.best is None:
        return None
    table, metric = found.table, found.metric
    chosen = _matrix(found, found.ranking, table.selection_split)
    if not chosen.shape[1] or np.isnan(chosen).any():
        return None  # nothing in common, or losses over other tokens
    picked = resample_selection(chosen * _sign(metric), resamples, seed)
    corrected = picked.corrected * _sign(metric)
    difference = next((one for one in found.differences if one.role == "runner-up"), None)
    if table.split == table.selection_split:
        interval = sorted((picked.low * _sign(metric), picked.high * _sign(metric)))
        estimate, n = corrected, chosen.shape[1]
    else:
        reported = _matrix(found, [found.best], table.split)[0]
        alone = paired(reported.tolist())
        if alone is None:
            return None
        estimate, n, interval = alone.mean, alone.n, [alone.low, alone.high]
    return Winner(
        name=found.best.name,
        metric=metric,
        selection_split=table.selection_split,
        split=table.split,
        n_selection=chosen.shape[1],
        n=n,
        raw=float(chosen[0].mean()),
        corrected=corrected,
        estimate=estimate,
        low=interval[0],
        high=interval[1],
        frequencies=_frequencies(found, picked),
        runner_up=found.runner_up.name if found.runner_up else None,
        difference=difference.paired.mean if difference else None,
        difference_low=difference.paired.low if difference else None,
        difference_high=difference.paired.high if difference else None,
        detectable=difference.detectable if difference else None,
        needed=difference.needed if difference else None,
        affordable=_affordable(found, chosen),
    )


def against_best(found: Comparison, seed: int = 0) -> tuple[AgainstBest, ...]:
    """Compare the best configuration with every other by the deciding metric, in the order of the ranking."""
    if len(found.ranking) < 2:
        return ()
    scores, metric = found.scores[found.table.split], found.metric
    others, columns = [], []
    for other in found.ranking[1:]:
        first, second = scores.paired(found.ranking[0].rows, other.rows, metric)
        if not np.isnan(first).all():
            others.append(other.name)
            columns.append(first - second)
    if not columns:
        return ()
    flipped = sign_flips(np.array(columns).T, flips_for(len(columns)), seed)
    adjusted = holm(flipped.p)
    rows = []
    for name, column, p, corrected in zip(others, columns, flipped.p, adjusted, strict=True):
        one = paired(column[~np.isnan(column)].tolist())
        assert one is not None
        rows.append(AgainstBest(name, one.n, one.mean, one.low, one.high, float(p), float(corrected)))
    return tuple(rows)


def best_per_level(found: Comparison) -> tuple[BestOfLevel, ...]:
    """Return the best configuration for each value of each axis that was swept; ranges of a search have none."""
    levels = []
    for axis in found.table.axes:
        groups: dict[Any, list[Candidate]] = {}
        for one in found.ranking:
            groups.setdefault(getattr(one.row.train, axis), []).append(one)
        if axis == "seed" or len(groups) < 2 or not _has_levels(found, axis):
            continue
        for value in sorted(groups, key=lambda value: (isinstance(value, str), value)):
            group = groups[value]
            mean = math.fsum(one.selection for one in group) / len(group)
            levels.append(BestOfLevel(axis, value, len(group), group[0].name, group[0].selection, mean))
    return tuple(levels)


def metric_winners(found: Comparison) -> dict[str, str]:
    """Return the configuration that each metric would choose, the deciding metric first."""
    return {metric: ranking[0].name for metric, ranking in _rankings(found).items()}


def metric_agreement(found: Comparison) -> tuple[Agreement, ...]:
    """Return how alike every two metrics rank the configurations, stemmed scores and the loss alone."""
    rankings = _rankings(found)
    rows = []
    for first, second in combinations(rankings, 2):
        ours = {one.name: one.selection * _sign(first) for one in rankings[first]}
        theirs = {one.name: one.selection * _sign(second) for one in rankings[second]}
        names = [name for name in ours if name in theirs]
        alike = spearman([ours[name] for name in names], [theirs[name] for name in names])
        rows.append(Agreement(first, second, alike, rankings[first][0].name, rankings[second][0].name))
    return tuple(rows)


# --- parts -----------------------------------------------------------------------------------------------------------


def _has_levels(found: Comparison, field: str) -> bool:
    """Tell a choice from a range of a search, of which every value is another one."""
    search = found.table.search
    spreads = [axis.spread for axis in search.space.axes if axis.field == field] if search else []
    return all(isinstance(spread, Choice) for spread in spreads)


def _sign(metric: str) -> int:
    return -1 if metric in LOWER_IS_BETTER else 1


def _matrix(found: Comparison, ranking: Sequence[Candidate], split: str) -> Array:
    return found.scores[split].matrix([one.rows for one in ranking], found.metric)


def _frequencies(found: Comparison, picked: Selection) -> tuple[Frequency, ...]:
    rows = [
        Frequency(one.name, one.selection, float(share))
        for one, share in zip(found.ranking, picked.frequencies, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))


def _affordable(found: Comparison, chosen: Array) -> tuple[ConfigurationCost, ...]:
    """Return the configurations that are behind the best by no more than one standard error of that difference.

    The standard error is the paired one: that of a score alone mostly says how unlike the examples are, which is the
    same for all. Memory and time count in steps of a tenth, since they waver between equal trials; time decides last,
    and among equals the better one comes first.
    """
    rows = []
    for one, scores in zip(found.ranking, chosen, strict=True):
        behind = paired(((chosen[0] - scores) * _sign(found.metric)).tolist())
        assert behind is not None
        error = behind.sd / math.sqrt(behind.n) if behind.n > 1 else 0.0
        if one is found.best or behind.mean <= error:
            rows.append(_cost(one, -behind.mean * _sign(found.metric), 0.0 if one is found.best else error))
    return tuple(sorted(rows, key=_price))


def _cost(one: Candidate, difference: float, error: float) -> ConfigurationCost:
    values = one.row.values
    assert one.row.train is not None
    return ConfigurationCost(
        name=one.name,
        selection=one.selection,
        difference=difference,
        standard_error=error,
        lora_rank=one.row.train.lora_rank,
        trainable_parameters=values.get("trainable_parameters"),
        peak_memory_bytes=values.get("peak_memory_bytes"),
        wall_s=values.get("wall_s"),
    )


def _price(cost: ConfigurationCost) -> tuple[float, ...]:
    return (cost.trainable_parameters or cost.lora_rank, _step(cost.peak_memory_bytes), _step(cost.wall_s))


def _step(value: float | None) -> float:
    return round(10 * math.log(value, 2)) if value and value > 0 else -math.inf


def _rankings(found: Comparison) -> dict[str, list[Candidate]]:
    """Return the ranking by each metric, the deciding one first; unstemmed scores and parts only where they decide."""
    table = found.table
    known = found.scores[table.selection_split].metrics
    names = [found.metric, *(name for name in known if name != found.metric and metric_of(name).can_choose)]
    rows = table.of_kind("configuration")
    rankings = {name: rank(candidates(rows, table.selection_split, name), name) for name in names}
    return {name: ranking for name, ranking in rankings.items() if ranking and _is_comparable(found, ranking, name)}


def _is_comparable(found: Comparison, ranking: Sequence[Candidate], metric: str) -> bool:
    """Say whether scores stand on one scale: losses over other tokens do not."""
    scores = found.scores[found.table.selection_split]
    groups = [one.rows for one in ranking if all(row.label in scores.values for row in one.rows)]
    return metric != LOSS or not np.isnan(scores.matrix(groups, metric)).any()
