"""Every configuration against the untrained model with the same prompt, for every metric, corrected for their number.

`against_baselines(found)` gives one `BaselineTest` per configuration and metric, `frame(tests)` a DataFrame of them,
`baseline_sentences` says what a reader must know. A configuration's score on an example is its mean over its runs
(seeds); its replicates are kept apart from examples: the interval over examples takes the runs as they are, the one
over runs says what another seed would give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.comparison.candidates import Candidate, baseline_of, candidates
from analysis.comparison.comparison import Comparison
from analysis.records.scores import Scores
from analysis.statistics.multiple_testing import (
    ALPHA,
    EQUIVALENCE_MARGIN,
    Array,
    benjamini_hochberg,
    describe_pair,
    fewest_for,
    flips_for,
    holm,
    is_attainable,
    sign_flips,
)
from analysis.statistics.paired import FEWEST_EXAMPLES, SAME, paired, smallest_detectable
from trainables.metric_table import LOWER_IS_BETTER

if TYPE_CHECKING:
    import pandas as pd

STAR = "†"


@dataclass(frozen=True)
class BaselineTest:
    """A configuration minus its prompt-matched baseline on the reported split, by one metric.

    Scores and differences are in the metric's own unit (fractions for scores of text), whatever is better. `p` is the
    sign-flip test's, the other p are corrected over the configurations compared by the same metric. `attainable` is the
    smallest p that these examples allow, `star_attainable` whether one of these configurations could have earned a
    star at all; with fewer than `fewest` examples none can, whatever they are. `relative` is the gain as a share of the
    baseline: print it beside both absolutes or not at all.
    """

    metric: str
    name: str
    baseline: str
    n: int
    score: float
    baseline_score: float
    difference: float
    low: float
    high: float
    sd: float
    p_t: float
    p: float
    p_holm: float
    p_max_t: float
    p_bh: float
    attainable: float
    star_attainable: bool
    fewest: int
    wins: float  # share of examples on which the configuration is better, whichever direction that is
    ties: float
    losses: float
    d_z: float | None
    p_equivalent: float
    detectable: float  # smallest true difference found with 80% power at the level that the first step of Holm asks
    relative: float | None
    runs: int
    run_sd: float | None  # of the mean score over runs
    run_low: float | None  # 95% t interval of the difference over runs; None with fewer than two
    run_high: float | None
    p_runs: float | None
    correction: str = "holm"
    margin: float = EQUIVALENCE_MARGIN

    @property
    def p_corrected(self) -> float:
        """Return the p by the correction that decides."""
        return {"holm": self.p_holm, "maxt": self.p_max_t, "bh": self.p_bh}[self.correction]

    @property
    def has_star(self) -> bool:
        """Whether the difference holds after the correction; never where no star was attainable."""
        return self.star_attainable and self.p_corrected < ALPHA

    @property
    def is_equivalent(self) -> bool:
        return self.n >= self.fewest and self.p_equivalent < ALPHA

    @property
    def is_same(self) -> bool:
        """Whether it scores as its baseline on every example."""
        return not self.sd > SAME and abs(self.difference) <= SAME

    @property
    def has_interval(self) -> bool:
        return self.n >= FEWEST_EXAMPLES and self.sd > SAME

    @property
    def verdict(self) -> str:
        """Return 'same', 'too few', 'better', 'worse', 'equivalent' or 'cannot tell', the first that is so.

        'same' is for equal scores on every example, which are no evidence that others would score the same.
        """
        if self.is_same:
            return "same"
        if self.n < self.fewest:
            return "too few"
        if self.has_star:
            return "better" if (self.difference > 0) != (self.metric in LOWER_IS_BETTER) else "worse"
        return "equivalent" if self.is_equivalent else "cannot tell"


def against_baselines(
    found: Comparison, metrics: Iterable[str] | None = None, margin: float | None = None, seed: int = 0
) -> tuple[BaselineTest, ...]:
    """Compare every finished configuration with its baseline by every metric (default: all, the deciding one first)."""
    scores = found.scores[found.table.split]
    names = [found.metric, *(name for name in scores.metrics if name != found.metric)]
    tests: list[BaselineTest] = []
    for metric in names if metrics is None else metrics:
        tests += _by_metric(found, scores, metric, found.margin if margin is None else margin, seed)
    return tuple(tests)


def frame(tests: Iterable[BaselineTest]) -> pd.DataFrame:
    """Return tests as a data frame: a row per metric and configuration, with verdict and star."""
    import pandas as pd

    rows = [{**asdict(one), "has_star": one.has_star, "verdict": one.verdict} for one in tests]
    return pd.DataFrame(rows, columns=[*BaselineTest.__dataclass_fields__, "has_star", "verdict"])


# --- one metric ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    ours: Candidate
    theirs: Candidate
    scores: tuple[Array, Array]
    differences: Array  # (N,) with NaN


def _by_metric(found: Comparison, scores: Scores, metric: str, margin: float, seed: int) -> list[BaselineTest]:
    pairs = list(_pairs(found, scores, metric))
    if not pairs:
        return []
    differences = np.array([pair.differences for pair in pairs]).T
    flipped = sign_flips(differences, flips_for(len(pairs)), seed)
    adjusted, by_rate = holm(flipped.p), benjamini_hochberg(flipped.p)
    # Max-T and Benjamini-Hochberg let all differences through together at the level of one.
    is_holm = found.correction == "holm"
    attainable = is_attainable(flipped.attainable) if is_holm else bool((flipped.attainable < ALPHA).any())
    fewest = fewest_for(len(pairs) if is_holm else 1)
    tests = []
    for index, pair in enumerate(pairs):
        values = pair.differences[~np.isnan(pair.differences)]
        pick = float(flipped.p[index]), float(flipped.attainable[index])
        one = describe_pair(values, *pick, margin)
        ours, theirs = (float(np.nanmean(side)) for side in pair.scores)
        level = 1 - ALPHA / len(pairs)
        wins, losses = (one.losses, one.wins) if metric in LOWER_IS_BETTER else (one.wins, one.losses)
        over_runs = _over_runs(scores, pair, metric)
        tests.append(
            BaselineTest(
                metric=metric,
                name=pair.ours.name,
                baseline=pair.theirs.name,
                n=one.paired.n,
                score=ours,
                baseline_score=theirs,
                difference=one.paired.mean,
                low=one.paired.low,
                high=one.paired.high,
                sd=one.paired.sd,
                p_t=one.paired.p,
                p=one.p_flip,
                p_holm=float(adjusted[index]),
                p_max_t=float(flipped.p_max[index]),
                p_bh=float(by_rate[index]),
                attainable=one.attainable,
                star_attainable=attainable,
                fewest=fewest,
                wins=wins,
                ties=one.ties,
                losses=losses,
                d_z=one.d_z,
                p_equivalent=one.p_equivalent,
                detectable=smallest_detectable(one.paired.sd, one.paired.n, confidence=level),
                relative=one.paired.mean / theirs if theirs > 0 else None,
                runs=len(pair.ours.rows),
                run_sd=over_runs.sd if over_runs else None,
                run_low=over_runs.low if over_runs else None,
                run_high=over_runs.high if over_runs else None,
                p_runs=over_runs.p if over_runs else None,
                correction=found.correction,
                margin=margin,
            )
        )
    return tests


def _pairs(found: Comparison, scores: Scores, metric: str) -> Iterable[_Pair]:
    """Yield the configurations that have a baseline and examples in common with it."""
    table = found.table
    for ours in candidates(table.of_kind("configuration"), table.split, metric):
        theirs = baseline_of(table, ours, metric)
        if theirs is None or not scores.has((*ours.rows, *theirs.rows)):
            continue
        first, second = scores.paired(ours.rows, theirs.rows, metric)
        if not np.isnan(first).all():
            yield _Pair(ours, theirs, (first, second), first - second)


@dataclass(frozen=True)
class RunComparison:
    """A difference in means with each run as one observation: SD over our runs, 95% t interval and p."""

    sd: float
    low: float
    high: float
    p: float


def _over_runs(scores: Scores, pair: _Pair, metric: str) -> RunComparison | None:
    """Return what the runs say: each run's mean difference from the baseline's mean; None with fewer than two."""
    if len(pair.ours.rows) < 2:
        return None
    means = [float(np.nanmean(scores.paired([row], pair.theirs.rows, metric)[0])) for row in pair.ours.rows]
    others = [float(np.nanmean(scores.paired([row], pair.ours.rows, metric)[0])) for row in pair.theirs.rows]
    return compare_runs(means, others)


def compare_runs(ours: Sequence[float], theirs: Sequence[float]) -> RunComparison:
    """Compare two means with each run as one observation.

    A baseline of one run (greedy decoding has no seed) is taken as known; several are compared by Welch's t.
    """
    from scipy.special import stdtr, stdtrit

    base = math.fsum(theirs) / len(theirs)
    if len(theirs) < 2:
        found = paired([value - base for value in ours])
        assert found is not None
        return RunComparison(found.sd, found.low, found.high, found.p)
    sides = [(len(side), float(np.var(side, ddof=1)) / len(side)) for side in (ours, theirs)]
    variance = sum(share for _, share in sides)
    difference = math.fsum(ours) / len(ours) - base
    sd = float(np.std(ours, ddof=1))
    if not variance:
        return RunComparison(sd, difference, difference, 1.0 if not difference else 0.0)
    degrees = variance**2 / sum(share**2 / (count - 1) for count, share in sides)
    half = float(stdtrit(degrees, 0.975)) * math.sqrt(variance)
    p = 2 * float(stdtr(degrees, -abs(difference) / math.sqrt(variance)))
    return RunComparison(sd, difference - half, difference + half, p)
