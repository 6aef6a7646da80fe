"""How many seeds a choice needs: replicates of those left of a race, until their runs settle it or cannot.

A race compares one run of each configuration over examples; another seed gives another run. Here the examples are
taken as they are, and the means of runs are compared: each configuration's runs scatter round its own mean with one
variance, pooled over configurations, since two or three runs of one say little. The error is spent over the numbers of
seeds as a race spends it over examples, and shared by the comparisons with the best in equal parts.

How it is used: `replicate_race({name: mean scores of its runs, in the order of their seeds}, margin, most)` asks, while
its verdict is "going", for `going` with `next_runs` runs each. It is a pure function of the means of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics.alpha_spending import by_power, critical_values, spend
from analysis.statistics.multiple_testing import ALPHA, Array
from analysis.statistics.racing import Verdict

MOST_RUNS = 5
DOUBT = 0.1  # a spread is taken as low as it may be with this probability before more seeds are called useless


@dataclass(frozen=True)
class ReplicateRace:
    """Replicates as far as they have come; `at_most` is how much better than the best each other may be, by name.

    `run_sd` is the pooled standard deviation of runs of one configuration, NaN before the second run.
    "used up": all seeds are there, or all that may be had would not settle the choice within the margin.
    """

    verdict: Verdict
    best: str
    runs: int
    run_sd: float
    at_most: dict[str, float]
    going: tuple[str, ...]
    next_runs: int


def replicate_race(
    means: Mapping[str, Sequence[float]], margin: float, most: int = MOST_RUNS, alpha: float = ALPHA
) -> ReplicateRace:
    """Return how the runs of those left of a race compare; all of them have a run at least.

    After each number of runs, from two on, those that are at most `margin` better than the best leave.
    """
    if not means or not all(len(one) for one in means.values()) or most < 2:
        raise ValueError("replicates need a run of each configuration, and two or more seeds to be had")
    names = tuple(means)
    best, spread, known = max(names, key=lambda name: means[name][0]), math.nan, dict[str, float]()
    if len(names) == 1:
        return ReplicateRace("separated", best, 1, spread, known, (), 0)
    going, seen = names, dict.fromkeys(names, 1)
    for runs in range(2, most + 1):
        if any(len(means[name]) < runs for name in going):
            return ReplicateRace("going", best, runs - 1, spread, known, going, runs)
        seen |= dict.fromkeys(going, runs)
        used = {name: np.asarray(means[name][: seen[name]], dtype=float) for name in names}
        spread, degrees = pooled_spread(list(used.values()))
        best = max(going, key=lambda name: float(used[name].mean()))
        reach = quantile(runs, most, degrees, alpha / (len(names) - 1)) * spread
        gaps = {name: float(used[name].mean() - used[best].mean()) for name in names if name != best}
        known = {name: gap + reach * math.sqrt(1 / runs + 1 / seen[name]) for name, gap in gaps.items()}
        still = [name for name in gaps if known[name] > margin]
        if not still:
            is_alone = all(bound < 0 for bound in known.values())
            return ReplicateRace("separated" if is_alone else "equivalent", best, runs, spread, known, (), 0)
        going = tuple(name for name in names if name == best or name in still)
        # A spread that came out high by chance does not end it.
        low = spread * math.sqrt(degrees / _chi_square(degrees))
        reach = quantile(most, most, degrees + len(going) * (most - runs), alpha / (len(names) - 1)) * low
        if any(gaps[name] + reach * math.sqrt(2 / most) > margin for name in still):
            break
    return ReplicateRace("used up", best, runs, spread, known, (), 0)


def pooled_spread(runs: Sequence[Array]) -> tuple[float, int]:
    """Return the standard deviation of runs about the mean of their own configuration, and its degrees of freedom."""
    degrees = sum(len(one) - 1 for one in runs)
    squares = math.fsum(float(((one - one.mean()) ** 2).sum()) for one in runs)
    return (math.sqrt(squares / degrees), degrees) if degrees else (math.nan, 0)


def quantile(runs: int, most: int, degrees: int, alpha: float) -> float:
    """Return the quantile of t for a comparison after so many of the runs that may be had."""
    from scipy.special import ndtr, stdtrit

    times = tuple(one / most for one in range(2, most + 1))
    bound = critical_values(times, spend(times, alpha, by_power))[runs - 2]
    return -float(stdtrit(degrees, ndtr(-bound)))


def _chi_square(degrees: int) -> float:
    from scipy.special import chdtri

    return float(chdtri(degrees, DOUBT))
