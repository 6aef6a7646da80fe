"""The configurations of a search as points of its space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis.comparison.candidates import Candidate
from analysis.comparison.comparison import Comparison
from analysis.findings.effects import design_of, factors_of, why_no_effects
from analysis.records.sweep_search import GRID
from analysis.records.table import ResultRow
from search_spaces.points import SearchAxis
from search_spaces.spreads import Choice, FloatRange, Spread


@dataclass(frozen=True)
class Axis:
    """An axis of a search as it is drawn and judged: its field, what it may be, and the name of its parameter."""

    name: str
    field: str
    spread: Spread

    @property
    def is_log(self) -> bool:
        return not isinstance(self.spread, Choice) and self.spread.log

    @property
    def title(self) -> str:
        """Return its name for people: 'learning rate', 'lora alpha / lora rank'."""
        return self.name.replace("_", " ").replace("/", " / ")


def is_search(found: Comparison) -> bool:
    """Say whether the configurations are points chosen one by one, finished or not, and no grid."""
    search = found.table.search
    if search is not None:
        return search.sampler != GRID
    return bool(factors_of(found)) and design_of(found) is None and why_no_effects(found) is None


def axes_of(found: Comparison) -> tuple[Axis, ...]:
    """Return the axes of a search: the declared ones, else what varies, each range by its ends among the trials."""
    search = found.table.search
    if search is not None:
        return tuple(_declared(axis) for axis in search.space.axes if _is_moved(axis.spread))
    axes = []
    for factor in factors_of(found):
        low, high = factor.levels[0], factor.levels[-1]
        spread = FloatRange(float(low), float(high), factor.is_log) if factor.is_ordered else Choice(factor.levels)
        axes.append(Axis(factor.name, factor.name, spread))
    return tuple(axes)


def values_of(found: Comparison, row: ResultRow) -> dict[str, Any] | None:
    """Return a configuration's value by the name of each axis that is active in it; None where it is no point."""
    if found.table.search is not None:
        return row.parameters
    return {axis.name: getattr(row.train, axis.field) for axis in axes_of(found)} if row.train else None


def points_of(found: Comparison) -> list[Candidate]:
    """Return the finished points of a search, best first: configurations beside its space are none."""
    return [one for one in found.ranking if values_of(found, one.row) is not None]


def asked_of(found: Comparison) -> list[ResultRow]:
    """Return the trials of a search, whatever became of them."""
    return [row for row in found.table.of_kind("configuration") if values_of(found, row) is not None]


def _declared(axis: SearchAxis) -> Axis:
    return Axis(axis.name, axis.field, axis.spread)


def _is_moved(spread: Spread) -> bool:
    return not isinstance(spread, Choice) or len(spread.values) > 1
