"""The winner's curse: how far the best of several scores is luck, and what is left of it on other examples.

Shapes: C configurations, N examples, B resamples; higher is better throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.multiple_testing import TOLERANCE, Array

RESAMPLES = 2_000


@dataclass(frozen=True)
class Selection:
    """What resampling the examples says about a choice of the best mean.

    `frequencies` (C) are the shares of resamples that each configuration wins, ties divided. `raw` is the best mean:
    optimistic. `corrected` is the bias-corrected bootstrap's estimate of what the chosen one is worth, with a 95%
    percentile interval; NaN with fewer than two examples.
    """

    frequencies: Array
    raw: float
    corrected: float
    low: float
    high: float
    resamples: int

    @property
    def optimism(self) -> float:
        return self.raw - self.corrected


def resample_selection(scores: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Selection:
    """Choose the best of C by each of B resamples of the examples, and score it on those left out.

    This is BBC of Tsamardinos, Greasidou and Borboudakis (2018): no choice is scored on an example that made it.

    Args:
        scores: (C, N), complete.
    """
    values = np.asarray(scores, dtype=float)
    count, n = values.shape
    raw = float(values.mean(axis=1).max()) if n else math.nan
    if n < 2:
        return Selection(np.full(count, math.nan), raw, math.nan, math.nan, math.nan, 0)
    draw = np.random.default_rng([seed, n])
    weights = draw.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    inside = weights @ values.T / n  # (B, C)
    wins = inside >= inside.max(axis=1, keepdims=True) - TOLERANCE
    frequencies = (wins / wins.sum(axis=1, keepdims=True)).mean(axis=0)
    outside = (weights == 0).astype(float)
    sizes = outside.sum(axis=1)
    chosen = values[wins.argmax(axis=1)]  # (B, N); the first of equals, as in the ranking
    kept = sizes > 0
    worth = (outside * chosen).sum(axis=1)[kept] / sizes[kept]
    low, high = np.percentile(worth, [2.5, 97.5])
    return Selection(frequencies, raw, float(worth.mean()), float(low), float(high), resamples)


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation, equal values sharing their mean rank; NaN where either does not vary."""
    ours, theirs = (_ranks(np.asarray(one, dtype=float)) for one in (first, second))
    if len(ours) < 2 or not np.ptp(ours) or not np.ptp(theirs):
        return math.nan
    return float(np.corrcoef(ours, theirs)[0, 1])


def _ranks(values: Array) -> Array:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places], dtype=float)
