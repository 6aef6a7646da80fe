"""Tests of paired differences and corrections for their number: vectorised, exact where that is cheap, seeded.

Shapes: N examples, M comparisons. Differences are "ours minus theirs" per example; NaN is an example without one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.paired import FEWEST_EXAMPLES, Paired, paired

Array = NDArray[np.float64]
ALPHA = 0.05
EXACT_EXAMPLES = 12  # 2^12 = 4,096 signs are enumerated; above, signs are drawn
FLIPS = 10_000
CHUNK = 2_000
CORRECTIONS = {"holm": "Holm", "maxt": "max-T", "bh": "Benjamini-Hochberg"}
EQUIVALENCE_MARGIN = 0.01  # one point of a score; for a loss 0.01, which is 1% of perplexity
TOLERANCE = 1e-9  # sums of the same numbers in another order are equal


@dataclass(frozen=True)
class SignFlips:
    """Two-sided p of M comparisons under random signs, `p_max` corrected for their number by the largest statistic.

    `attainable` is the smallest p that a comparison could have had with so many examples that differ.
    """

    p: Array
    p_max: Array
    attainable: Array
    flips: int
    is_exact: bool


@dataclass(frozen=True)
class PairTest:
    """One paired comparison: t interval and p, sign-flip p, shares of examples won, tied and lost, effect size.

    `d_z` is the mean over the standard deviation of the differences, None without variance. `p_equivalent` is the p of
    two one-sided t tests that the true mean is within the margin.
    """

    paired: Paired
    p_flip: float
    attainable: float
    wins: float
    ties: float
    losses: float
    d_z: float | None
    p_equivalent: float

    @property
    def is_equivalent(self) -> bool:
        return self.p_equivalent < ALPHA


def pair_test(
    differences: ArrayLike, margin: float = EQUIVALENCE_MARGIN, flips: int = FLIPS, seed: int = 0
) -> PairTest | None:
    """Compare two systems by their differences per example; None without any."""
    values = np.asarray(differences, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    flipped = sign_flips(values[:, None], flips, seed)
    return describe_pair(values, float(flipped.p[0]), float(flipped.attainable[0]), margin)


def describe_pair(values: Array, p_flip: float, attainable: float, margin: float = EQUIVALENCE_MARGIN) -> PairTest:
    """Return everything about finite differences whose sign-flip p is known."""
    found = paired(values.tolist())
    assert found is not None, "there is no difference to describe"
    wins, ties, losses = (float(np.mean(one)) for one in (values > 0, values == 0, values < 0))
    d_z = found.mean / found.sd if found.n > 1 and found.sd > 0 else None
    return PairTest(found, p_flip, attainable, wins, ties, losses, d_z, p_equivalence(found, margin))


# --- random signs ----------------------------------------------------------------------------------------------------


def flips_for(comparisons: int) -> int:
    """Return how many signs to draw: enough that the smallest p survives a correction for so many comparisons."""
    return max(FLIPS, 40 * comparisons)


def attainable_p(n: int, flips: int = FLIPS) -> float:
    """Return the smallest two-sided sign-flip p that `n` examples can give: 2 / 2^n, or 1 / (flips + 1) if larger."""
    if n <= 0:
        return 1.0
    return 2.0 ** (1 - n) if n <= EXACT_EXAMPLES else max(2.0 ** (1 - n), 1 / (flips + 1))


def fewest_for(comparisons: int) -> int:
    """Return from how many examples on one of so many comparisons can be significant after Holm: 6 for one, 9 for 8."""
    n = FEWEST_EXAMPLES
    while comparisons * 2.0 ** (1 - n) >= ALPHA:
        n += 1
    return n


def sign_flips(differences: ArrayLike, flips: int = FLIPS, seed: int = 0) -> SignFlips:
    """Test M means of differences (N, M) against zero by flipping the signs of whole examples.

    All 2^N signs for N <= 12, else `flips` drawn ones with p = (c + 1) / (flips + 1). The corrected p is single-step
    max-T (Westfall and Young 1993): the share of flips whose largest |t| over all comparisons reaches a comparison's
    own. It gains on Holm where comparisons are correlated, as those with a common baseline are.
    """
    values = np.asarray(differences, dtype=float)
    values = np.where(np.isnan(values), 0.0, values)  # no difference, whatever its sign
    n, count = values.shape
    lengths = np.sqrt((values**2).sum(axis=0))
    # Under flips the sum of squares stays, so |t| grows with |sum| over its root: one product gives every t.
    units = np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
    observed = np.abs(units.sum(axis=0)) - TOLERANCE
    own, largest = np.zeros(count), np.zeros(count)
    for signs in _chunks(n, flips, seed):
        reached = np.abs(signs @ units)
        own += (reached >= observed).sum(axis=0)
        largest += (reached.max(axis=1, initial=0.0)[:, None] >= observed).sum(axis=0)
    is_exact = n <= EXACT_EXAMPLES
    total = 2**n if is_exact else flips
    add = 0 if is_exact else 1
    differing = (values != 0).sum(axis=0)
    least = np.array([attainable_p(int(one), flips) if is_exact else _least(int(one), flips) for one in differing])
    return SignFlips((own + add) / (total + add), (largest + add) / (total + add), least, total, is_exact)


def _least(differing: int, flips: int) -> float:
    return max(2.0 ** (1 - differing), 1 / (flips + 1)) if differing else 1.0


def _chunks(n: int, flips: int, seed: int) -> Iterator[Array]:
    signs = _every_sign(n) if n <= EXACT_EXAMPLES else _drawn_signs(n, flips, seed)
    for start in range(0, len(signs), CHUNK):
        yield signs[start : start + CHUNK].astype(float)


@lru_cache(maxsize=16)
def _every_sign(n: int) -> NDArray[np.int8]:
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return (2 * bits - 1).astype(np.int8)


@lru_cache(maxsize=2)
def _drawn_signs(n: int, flips: int, seed: int) -> NDArray[np.int8]:
    draw = np.random.default_rng([seed, n, flips])
    return 2 * draw.integers(0, 2, size=(flips, n), dtype=np.int8) - 1


# --- equivalence -----------------------------------------------------------------------------------------------------


def p_equivalence(found: Paired, margin: float = EQUIVALENCE_MARGIN) -> float:
    """Return the p of two one-sided t tests (Schuirmann 1987) that the true mean difference is within +-`margin`.

    It is 1 for fewer than six examples and for differences that are all equal: those say nothing of other examples.
    """
    from scipy.special import stdtr  # scipy.stats costs more than a second

    if not found.has_interval:
        return 1.0
    error = found.sd / math.sqrt(found.n)
    above = stdtr(found.n - 1, -(found.mean + margin) / error)
    below = stdtr(found.n - 1, (found.mean - margin) / error)
    return float(max(above, below))


# --- many comparisons ------------------------------------------------------------------------------------------------
# By hand, as equivalence is: statsmodels gives the same numbers (tested), and takes 1.3 s to import for a table.


def holm(p: ArrayLike) -> Array:
    """Return Holm's step-down adjusted p (family-wise error); NaN stays NaN and is not counted."""
    return _stepwise(p, lambda ordered: np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)))


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Return Benjamini and Hochberg's adjusted p (false discovery rate); NaN stays NaN and is not counted."""

    def adjust(ordered: Array) -> Array:
        stepped = ordered * len(ordered) / np.arange(1, len(ordered) + 1)
        return np.minimum.accumulate(stepped[::-1])[::-1]

    return _stepwise(p, adjust)


def is_attainable(least: Sequence[float] | Array, alpha: float = ALPHA) -> bool:
    """Say whether any of these comparisons could have been significant after Holm, by its smallest attainable p."""
    adjusted = holm(least)
    return bool(np.nanmin(adjusted) < alpha) if np.isfinite(adjusted).any() else False


def _stepwise(p: ArrayLike, adjust: Any) -> Array:
    values = np.asarray(p, dtype=float)
    found = np.full(values.shape, math.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    if len(order):
        found[order] = np.minimum(adjust(values[order]), 1.0)
    return found
