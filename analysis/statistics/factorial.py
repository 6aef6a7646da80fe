"""Full factorial designs: contrasts of their cells, shares of the sum of squares, limits of noise without replicates.

Shapes: C cells (configurations) in the order of the product of the factors' levels, the first factor slowest; T terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.multiple_testing import Array

HIGHEST_ORDER = 3  # interactions of more factors are in the shares, not among the contrasts


@dataclass(frozen=True)
class Factor:
    """An axis with its levels in order; `is_ordered` where they are numbers, `is_log` where doubling them is a step."""

    name: str
    levels: tuple[Any, ...]
    is_ordered: bool
    is_log: bool

    @property
    def positions(self) -> Array:
        """The levels as numbers: log2 or plain where they are ordered, else their places."""
        if not self.is_ordered:
            return np.arange(len(self.levels), dtype=float)
        values = np.array(self.levels, dtype=float)
        return np.log2(values) if self.is_log else values


@dataclass(frozen=True)
class Term:
    """One contrast: `weights` (C) times the cells' scores is the effect; `change` says from what to what."""

    factors: tuple[str, ...]
    change: str
    weights: Array


@dataclass(frozen=True)
class Lenth:
    """Lenth's (1989) pseudo standard error of an unreplicated design, and the limits of what it leaves to noise.

    An effect beyond `margin` is unlike the others at 5%, one beyond `simultaneous` at 5% over all of them.
    """

    pse: float
    margin: float
    simultaneous: float


def factor_of(name: str, values: Sequence[Any]) -> Factor:
    """Return the factor with these values: numbers in order, others as they first appear."""
    distinct = list(dict.fromkeys(values))
    is_ordered = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in distinct)
    levels = sorted(distinct) if is_ordered else distinct
    is_log = is_ordered and min(levels) > 0 and max(levels) / min(levels) >= 2
    return Factor(name, tuple(levels), is_ordered, is_log)


def terms(factors: Sequence[Factor], most: int = HIGHEST_ORDER) -> list[Term]:
    """Return main effects, then interactions up to `most` factors.

    The effect of two levels is the mean at the second minus the mean at the first; of several ordered levels the change
    along a straight line from the lowest to the highest; of several unordered levels each one's mean minus the first's.
    An interaction of two-level factors is the mean where an even number of them is low, minus the mean elsewhere.
    """
    columns = {factor.name: _columns(factor) for factor in factors}
    cells = list(product(*(range(len(factor.levels)) for factor in factors)))
    place = {factor.name: index for index, factor in enumerate(factors)}
    found: list[tuple[tuple[str, ...], str, Array, float]] = []
    for order in range(1, min(most, len(factors)) + 1):
        for chosen in combinations(factors, order):
            for parts in product(*(columns[factor.name] for factor in chosen)):
                design = np.ones(len(cells))
                for factor, (_, column, _) in zip(chosen, parts, strict=True):
                    design = design * column[[cell[place[factor.name]] for cell in cells]]
                scale = 2.0 if any(is_range for _, _, is_range in parts) else 1.0
                names = tuple(factor.name for factor in chosen)
                found.append((names, " × ".join(change for change, _, _ in parts), design, scale))
    every = np.array([np.ones(len(cells)), *(design for _, _, design, _ in found)]).T
    inverse = np.linalg.pinv(every)[1:]
    return [
        Term(names, change, scale * weights) for (names, change, _, scale), weights in zip(found, inverse, strict=True)
    ]


def _columns(factor: Factor) -> list[tuple[str, Array, bool]]:
    """Return (change, centred column over levels, whether it spans -1 to 1) for each contrast of a factor."""
    levels = [level_text(level) for level in factor.levels]
    if len(levels) == 2 or factor.is_ordered:
        x = factor.positions
        return [(f"{levels[0]} → {levels[-1]}", 2 * (x - x.mean()) / np.ptp(x), True)]
    count = len(levels)
    return [
        (f"{levels[0]} → {levels[index]}", (np.arange(count) == index) - 1 / count, False) for index in range(1, count)
    ]


def level_text(level: Any) -> str:
    """Write a level: '0.0005', 'v1', 'q_proj+v_proj'."""
    if isinstance(level, (tuple, list)):
        return "+".join(map(str, level))
    return f"{level:g}" if isinstance(level, float) else str(level)


def shares(factors: Sequence[Factor], cells: ArrayLike) -> dict[tuple[str, ...], float]:
    """Return the exact share of the cells' sum of squares that each factor and each interaction has; they sum to 1.

    Args:
        cells: (C,) one score per cell. All shares are NaN where the cells are equal.
    """
    values = np.asarray(cells, dtype=float).reshape([len(factor.levels) for factor in factors])
    total = float(((values - values.mean()) ** 2).sum())
    parts: dict[tuple[int, ...], Array] = {(): np.asarray(values.mean())}
    found = {}
    axes = range(len(factors))
    for order in range(1, len(factors) + 1):
        for chosen in combinations(axes, order):
            others = tuple(axis for axis in axes if axis not in chosen)
            part = values.mean(axis=others, keepdims=True)
            for smaller, known in list(parts.items()):
                if set(smaller) < set(chosen):
                    part = part - known
            parts[chosen] = part
            square = float((part**2).sum()) * math.prod(len(factors[axis].levels) for axis in others)
            names = tuple(factors[axis].name for axis in chosen)
            found[names] = square / total if total > 1e-24 else math.nan
    return found


def lenth(effects: ArrayLike) -> Lenth | None:
    """Return Lenth's error of the effects of an unreplicated two-level design; None with fewer than five."""
    from scipy.special import stdtrit

    sizes = np.abs(np.asarray(effects, dtype=float))
    if len(sizes) < 5:
        return None
    first = 1.5 * float(np.median(sizes))
    small = sizes[sizes < 2.5 * first]
    pse = 1.5 * float(np.median(small)) if len(small) else 0.0
    degrees, each = len(sizes) / 3, (1 + 0.95 ** (1 / len(sizes))) / 2
    return Lenth(pse, float(stdtrit(degrees, 0.975)) * pse, float(stdtrit(degrees, each)) * pse)


def half_normal_quantiles(count: int) -> Array:
    """Return the expected sizes of `count` effects of noise of SD 1, ascending: the plot's horizontal axis."""
    from scipy.special import ndtri

    return np.asarray(ndtri(0.5 + 0.5 * (np.arange(1, count + 1) - 0.5) / count), dtype=float)
