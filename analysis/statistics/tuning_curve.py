"""The expected best of n independent draws, from the scores of B of them; higher is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.multiple_testing import Array

STATED = 4  # the interval is stated for at most a quarter of the draws


@dataclass(frozen=True)
class TuningCurve:
    """The expected best of 1, 2, ... draws, and for the first `stated` of them a 95% interval."""

    best: Array
    low: Array
    high: Array

    @property
    def stated(self) -> int:
        return len(self.low)


def expected_best(scores: ArrayLike, most: int | None = None) -> TuningCurve:
    """Return the unbiased expected best of n draws without replacement from these scores, with 95% intervals.

    The mean over all subsets: sum of v(i) C(i-1, n-1) / C(B, n) over the sorted scores. That of Dodge et al. (2019)
    draws with replacement and is biased low. Only for independent draws: not for grids, nor for a search that learns.

    The mean over all subsets is a U-statistic, so the interval is Student's with the jackknife's variance (Arvesen
    1969). In 300 draws of 12, 24 and 48 normal, uniform and exponential scores it held 0.83 to 0.96 of the time for n
    up to B / 4; beyond that every interval tried, percentile and basic bootstraps too, held less often than it says.
    """
    values = np.sort(np.asarray(scores, dtype=float))
    count = len(values)
    best = _weights(count, min(most or count, count)) @ values
    stated = min(len(best), count // STATED)
    if not stated:
        return TuningCurve(best, np.empty(0), np.empty(0))
    from scipy.special import stdtrit

    weights = _weights(count - 1, stated)
    without = np.array([weights @ np.delete(values, place) for place in range(count)])  # (B, stated)
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    half = float(stdtrit(count - 1, 0.975)) * np.sqrt((count - 1) / count * spread)
    return TuningCurve(best, best[:stated] - half, best[:stated] + half)


def _weights(count: int, most: int) -> Array:
    """Return the weight of each of `count` sorted scores in the expected best of 1 to `most` draws."""
    places = np.arange(count)  # i - 1
    chances = np.full(count, 1 / count if count else math.nan)
    rows = []
    for n in range(1, most + 1):
        rows.append(chances)
        # From C(i-1, n-1) / C(B, n) to that of n + 1, without the large numbers.
        chances = chances * (places - n + 1) / n * (n + 1) / max(count - n, 1)
    return np.array(rows).reshape(most, count)
