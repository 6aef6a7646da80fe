"""Anytime-valid bounds that a race could have instead of its own: tried, compared and kept for the comparison alone.

Each returns upper bounds (C, C) of mean j minus mean i from scores so far (C, n), at `alpha` for each pair. Scores are
within a range of one, so a difference d is moved to x = (d + 1) / 2 between 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from analysis.statistics.multiple_testing import Array
from analysis.statistics.racing import Bounds, paired_sds

TRUNCATED = 0.5
BISECTIONS = 14


def empirical_bernstein(alpha: float) -> Bounds:
    """Return the predictable plug-in empirical Bernstein bound of Waudby-Smith and Ramdas (2024, theorem 2)."""
    return partial(_of_pairs, lambda moved: bernstein_lower(moved, alpha))


def betting(alpha: float, most: int | None = None) -> Bounds:
    """Return the bound of a betting capital (Waudby-Smith and Ramdas 2024, theorem 3), best after `most` examples."""
    return partial(_of_pairs, lambda moved: betting_lower(moved, alpha, most))


def asymptotic(alpha: float, tuned_for: int) -> Bounds:
    """Return the one-sided asymptotic bound of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, proposition B.1).

    It is Robbins' normal mixture with an estimated variance, tightest near `tuned_for` examples.
    """

    def bound(values: Array, number: int) -> Array:
        means, count = values.mean(axis=1), values.shape[1]
        half = asymptotic_half_width(count, alpha, tuned_for)
        return np.asarray(means[:, None] - means + half * paired_sds(values), dtype=float)

    return bound


def asymptotic_half_width(count: int, alpha: float, tuned_for: int) -> float:
    """Return half the width in standard deviations."""
    rho = math.sqrt((-2 * math.log(2 * alpha) + math.log(-2 * math.log(2 * alpha)) + 1) / tuned_for)
    scaled = count * rho**2
    return math.sqrt(2 * (scaled + 1) / (count * scaled) * math.log(1 + math.sqrt(scaled + 1) / (2 * alpha)))


def bernstein_lower(moved: Array, alpha: float) -> Array:
    """Return lower bounds of means of (P, n) values between 0 and 1, by the last of n."""
    bets = np.minimum(_bets(moved, alpha, None), TRUNCATED)
    count = np.arange(1, moved.shape[1] + 1)
    before = np.concatenate([np.zeros((len(moved), 1)), (np.cumsum(moved, axis=1) / count)[:, :-1]], axis=1)
    spread = ((moved - before) ** 2 * (-np.log1p(-bets) - bets)).sum(axis=1)
    found = ((bets * moved).sum(axis=1) - math.log(1 / alpha) - spread) / bets.sum(axis=1)
    return np.asarray(found, dtype=float)


def betting_lower(moved: Array, alpha: float, most: int | None) -> Array:
    """Return the largest means of (P, n) values between 0 and 1 that the capital has ruled out, by the last of n."""
    bets = _bets(moved, alpha, most)
    low, high = np.zeros(len(moved)), np.ones(len(moved))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        capped = np.minimum(bets, TRUNCATED / middle[:, None])
        ruled_out = np.log1p(capped * (moved - middle[:, None])).sum(axis=1) >= math.log(1 / alpha)
        low, high = np.where(ruled_out, middle, low), np.where(ruled_out, high, middle)
    return low


def _bets(moved: Array, alpha: float, most: int | None) -> Array:
    """Return what is put on each value, from those before it alone."""
    count = np.arange(1, moved.shape[1] + 1)
    means = (0.5 + np.cumsum(moved, axis=1)) / (count + 1)
    variances = (0.25 + np.cumsum((moved - means) ** 2, axis=1)) / (count + 1)
    known = np.concatenate([np.full((len(moved), 1), 0.25), variances[:, :-1]], axis=1)
    scale = count * np.log(1 + count) if most is None else most
    return np.asarray(np.sqrt(2 * math.log(1 / alpha) / (scale * known)), dtype=float)


def _of_pairs(lower: Callable[[Array], Array], values: Array, number: int) -> Array:
    size = len(values)
    moved = ((values[None, :] - values[:, None] + 1) / 2).reshape(size * size, -1)  # [j, i]: i minus j
    return -(2 * lower(np.clip(moved, 0.0, 1.0)) - 1).reshape(size, size)
