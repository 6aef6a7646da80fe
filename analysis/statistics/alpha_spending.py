"""Critical values of tests that are repeated as examples come in: alpha spending over nested looks.

Lan and DeMets (1983): an error of alpha is spent over the looks, `spent(t)` of it by the time that the share t of all
examples is seen, whatever was planned of the looks between. The critical values follow from the joint distribution of
the statistics, the recursion of Armitage, McPherson and Rowe (1969); Jennison and Turnbull, "Group Sequential Methods"
(2000), chapter 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from analysis.statistics.multiple_testing import Array

NODES = 96  # of a Gauss-Legendre rule; twice as many change no critical value by 1e-6
TAIL = 9.0  # standard deviations below which a path is not followed
WIDEST = 40.0  # a critical value that nothing reaches


@lru_cache(maxsize=64)
def critical_values(times: tuple[float, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """Return c_k for one-sided tests: under the null a path first has Z_k >= c_k at look k with the error spent there.

    The sums of a path, sqrt(t_k) Z_k, have independent normal increments of variance t_k - t_(k-1).

    Args:
        times: shares of the information, ascending, the last usually 1.
        spent: the error spent by each of them, ascending.
    """
    found: list[float] = []
    nodes, rule = _legendre()
    places, weights, density = np.zeros(1), np.ones(1), np.ones(1)  # of the paths that have not crossed, at 0
    before, gone = 0.0, 0.0
    for time, total in zip(times, spent, strict=True):
        step = math.sqrt(time - before)
        bound = _bound(places, weights * density, step, math.sqrt(time), total - gone)
        found.append(bound)
        low, high = -TAIL * math.sqrt(time), min(bound, TAIL) * math.sqrt(time)
        new = (high - low) / 2 * nodes + (high + low) / 2
        kernel = np.exp(-(((new[:, None] - places) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        density = kernel @ (weights * density)
        places, weights, before, gone = new, rule * (high - low) / 2, time, total
    return tuple(found)


@lru_cache(maxsize=1)
def _legendre() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return np.asarray(nodes, dtype=float), np.asarray(weights, dtype=float)


def _bound(places: Array, mass: Array, step: float, scale: float, error: float) -> float:
    """Return the c above which, times `scale`, a path ends with probability `error` after a normal step."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    def crossing(bound: float) -> float:
        return float(mass @ ndtr((places - bound * scale) / step)) - error

    return WIDEST if error <= 0 or crossing(WIDEST) > 0 else float(brentq(crossing, -WIDEST, WIDEST, xtol=1e-10))


def spend(times: Sequence[float], alpha: float, function: Callable[[float, float], float]) -> tuple[float, ...]:
    """Return the error that a spending function has spent by each look."""
    return tuple(function(time, alpha) for time in times)


def by_power(time: float, alpha: float, power: float = 1.0) -> float:
    """Return the error spent by the power family of Kim and DeMets (1987): alpha * t^power."""
    return alpha * time**power


def like_obrien_fleming(time: float, alpha: float) -> float:
    """Return the error spent by Lan and DeMets' function that resembles O'Brien and Fleming's bounds."""
    from scipy.special import ndtr, ndtri

    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(time)))


def like_pocock(time: float, alpha: float) -> float:
    """Return the error spent by Lan and DeMets' function that resembles Pocock's bounds, all alike."""
    return alpha * math.log(1 + (math.e - 1) * time)
