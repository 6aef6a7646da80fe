"""Every configuration against the untrained model with the same prompt, for every metric, corrected for their number.

`against_baselines(found)` gives one `BaselineTest` per configuration and metric, `frame(tests)` a DataFrame of them,
`sentences(found, tests)` what a reader must know. A configuration's score on an example is its mean over its runs
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
from analysis.findings.sentences import rounded, unit_after, value_of
from analysis.records.scores import Scores
from analysis.statistics.multiple_testing import (
    ALPHA,
    CORRECTIONS,
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
from analysis.statistics.paired import FEWEST_EXAMPLES, SAME, examples_needed, paired, smallest_detectable
from trainables.metric_table import LOSS, LOWER_IS_BETTER

if TYPE_CHECKING:
    import pandas as pd

STAR = "†"
TWO_POINTS = 0.02  # the gain for which the number of examples is stated; for a loss 0.02


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


def sentences(found: Comparison, tests: Sequence[BaselineTest]) -> list[str]:
    """Say how many configurations beat their baseline by the deciding metric, and what no star means."""
    own = [one for one in tests if one.metric == found.metric]
    if not own:
        return []
    said = []
    n, count = min(one.n for one in own), len(own)
    name = CORRECTIONS[found.correction] + ("'s" if found.correction == "holm" else "")
    family = f"after {name} correction for {count} comparisons ({STAR})" if count > 1 else f"at 5% ({STAR})"
    same = [one.name for one in own if one.verdict == "same"]
    if same:
        verb = "scores" if len(same) == 1 else "score"
        said.append(
            f"{', '.join(same)} {verb} the same as the untrained model with the same prompt on all {n} examples."
        )
    if len(same) == count:
        return said
    if not own[0].star_attainable:
        least = min(one.attainable for one in own)
        times = f", times {count}" if found.correction == "holm" else ""
        said.append(
            f"With {n} examples and {count} configurations no difference from a baseline could have been significant "
            f"(smallest p attainable {least:.3g}{times}): the absence of {STAR} means nothing here."
        )
    else:
        better = [one.name for one in own if one.verdict == "better"]
        worse = [one.name for one in own if one.verdict == "worse"]
        if better or not worse:
            said.append(f"{_share(better, count)} better than the untrained model with the same prompt {family}.")
        if worse:
            said.append(f"{_share(worse, count)} worse than the untrained model with the same prompt {family}.")
    if text := _runs_sentence(own):
        said.append(text)
    varied = [one for one in own if one.has_interval]
    if varied and not all(one.has_star for one in own):
        said.append(_power(found.metric, own, varied))
    equal = [one.name for one in own if one.verdict == "equivalent"]
    if equal:
        points = 100 * found.margin
        size = f"{found.margin:g}" if found.metric == LOSS else f"{points:g} point{'s' * (points != 1)}"
        said.append(f"Equivalent to the untrained model within {size} (two one-sided tests): {', '.join(equal)}.")
    return said


def examples_for(tests: Sequence[BaselineTest], difference: float, comparisons: int | None = None) -> int | None:
    """Return how many examples would show a true `difference` of any of these configurations with 80% power.

    At the level that the first step of Holm asks (max-T and Benjamini-Hochberg ask no stricter one), by the largest SD,
    each at its upper limit; None beyond ten million.
    `comparisons` is the size of the family where these are but a part of it.
    """
    level = 1 - ALPHA / (comparisons or len(tests))
    needed = [examples_needed(one.sd, difference, confidence=level, seen=one.n) for one in tests if one.n > 1]
    return max((one for one in needed if one is not None), default=None) if None not in needed else None


def _runs_sentence(own: Sequence[BaselineTest]) -> str:
    """Say how many differences hold with each run as one observation; nothing without replicates."""
    repeated = [one for one in own if one.p_runs is not None]
    if not repeated:
        return ""
    corrected = holm([math.nan if one.p_runs is None else one.p_runs for one in repeated])
    held = int((corrected < ALPHA).sum())
    return (
        f"By the runs alone, each one observation, {held} of {len(repeated)} differences from a baseline hold "
        "(t over runs, after Holm): these are what another seed would be likely to repeat."
    )


def _power(metric: str, own: Sequence[BaselineTest], varied: Sequence[BaselineTest]) -> str:
    """Say which differences so many examples show, where they can show any, and how many show one of two points."""
    unit, asked = unit_after(metric), TWO_POINTS
    detectable = max(one.detectable for one in varied)
    needed = examples_for(varied, asked, len(own))
    count = "more than ten million" if needed is None else f"about {rounded(needed)}"
    power, size = f"(80% power at {_level(own)})", f"{value_of(metric, asked)}{unit}"
    if not own[0].star_attainable:
        return f"A difference of {size} from a baseline would need {count} examples {power}."
    return (
        f"{min(one.n for one in own)} examples show differences from {value_of(metric, detectable)}{unit} upward "
        f"from a baseline {power}; one of {size} needs {count}."
    )


def _level(own: Sequence[BaselineTest]) -> str:
    """Name the level that power is computed at: the strictest that the correction in use ever asks."""
    if len(own) == 1:
        return "5%"
    level, correction = f"5% / {len(own)}", own[0].correction
    return (
        f"{level}, Holm's first step" if correction == "holm" else f"{level}; {CORRECTIONS[correction]} needs no more"
    )


def _share(names: list[str], count: int) -> str:
    if len(names) == count:
        every = {1: "The one configuration is", 2: "Both configurations are"}
        return every.get(count, f"All {count} configurations are")
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""
    if count == 1:
        return "The one configuration is not"
    verb = "is" if len(names) < 2 else "are"
    return f"{len(names) or 'None'} of {count} configurations{listed} {verb}"


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
