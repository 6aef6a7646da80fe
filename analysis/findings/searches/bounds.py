"""Where the best of a search lies at a bound of its axis, and the wider range, as the command line spells it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from analysis.comparison.comparison import Comparison
from analysis.findings.searches.points import Axis, is_search, values_of
from search_spaces.spreads import Choice, FloatRange, IntegerRange, Ratio
from trainables.config import TrainConfig

OUTER = 0.05  # share of a range, on its own scale, that counts as its end
FACTOR = 10.0  # by which a logarithmic range is widened
WHOLE_FACTOR = 4  # one of whole numbers


@dataclass(frozen=True)
class AtBound:
    """An axis on which the best lies at an end of what was searched."""

    axis: str
    value: Any
    is_low: bool
    searched: str
    wider: str  # `learning_rate=log:5e-5..5e-2`


def at_bounds(found: Comparison) -> tuple[AtBound, ...]:
    """Return the axes of a declared search on which the best lies at an end that can be moved.

    None where several objectives have no single best. An end that the field itself has, such as a dropout of 0, is
    none.
    """
    search = found.table.search
    if search is None or found.best is None or found.front or not is_search(found):
        return ()
    values = values_of(found, found.best.row) or {}
    rows = []
    for one in search.space.axes:
        axis = Axis(one.name, one.field, one.spread)
        if one.name in values and (at := bound_of(axis, values[one.name])):
            rows.append(at)
    return tuple(rows)


def spelled(axis: Axis) -> str:
    """Write what an axis may be as the command line spells it: `log:5e-5..5e-3`, `8,16`."""
    spread = axis.spread
    if isinstance(spread, Choice):
        return ",".join(_number(value) for value in spread.values)
    ends = f"{_number(spread.low, spread.log)}..{_number(spread.high, spread.log)}"
    of = f"ratio:{spread.of}:" if isinstance(spread, Ratio) else ""
    return f"{of}{'log:' if spread.log else ''}{ends}"


def bound_of(axis: Axis, value: Any) -> AtBound | None:
    """Return at which end of an axis a value lies; None in its middle, and where the field itself ends there."""
    spread = axis.spread
    if isinstance(spread, Choice):
        return _of_list(axis, spread, value)
    scale = math.log if spread.log else float
    low, high, at = scale(spread.low), scale(spread.high), scale(value)
    share = (at - low) / (high - low)
    if OUTER < share < 1 - OUTER:
        return None
    is_low = share <= OUTER
    end = _beyond(axis, spread, is_low)
    if end is None:
        return None
    ends = {"low": end if is_low else spread.low, "high": spread.high if is_low else end}
    wider = Axis(axis.name, axis.field, type(spread)(**{**vars(spread), **ends}))
    return AtBound(axis.name, value, is_low, spelled(axis), f"{axis.field}={spelled(wider)}")


def _of_list(axis: Axis, spread: Choice, value: Any) -> AtBound | None:
    """Judge a list of numbers, which has an order although a sampler does not use it."""
    numbers = spread.values
    if len(numbers) < 2 or any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers):
        return None
    levels = sorted(numbers)
    if value not in (levels[0], levels[-1]):
        return None
    is_low = value == levels[0]
    near = levels[1] if is_low else levels[-2]
    is_geometric = levels[0] > 0 and levels[-1] / levels[0] >= len(levels)
    step: float = value * value / near if is_geometric else 2 * value - near
    step = round(step) if all(isinstance(one, int) for one in levels) else float(f"{step:.3g}")
    end = _within(axis.field, step, value)
    if end is None:
        return None
    wider = Axis(axis.name, axis.field, Choice((end, *levels) if is_low else (*levels, end)))
    return AtBound(axis.name, value, is_low, spelled(axis), f"{axis.field}={spelled(wider)}")


def _beyond(axis: Axis, spread: FloatRange | IntegerRange | Ratio, is_low: bool) -> float | None:
    """Return where a wider range would end; None where the field itself ends there."""
    end = spread.low if is_low else spread.high
    if spread.log:
        factor = WHOLE_FACTOR if isinstance(spread, IntegerRange) else FACTOR
        moved = end / factor if is_low else end * factor
    else:
        width = spread.high - spread.low
        moved = end - width if is_low else end + width
    moved = round(moved) if isinstance(spread, IntegerRange) else float(f"{moved:.3g}")
    if isinstance(spread, Ratio):
        return moved if moved > 0 else end / 2
    return _within(axis.field, moved, end)


def _within(field: str, moved: float, end: float) -> float | None:
    """Return a new end within what the field allows; None where the old one is all it allows."""
    for rule in TrainConfig.model_fields[field].metadata:
        for name, is_open in (("ge", False), ("gt", True), ("le", False), ("lt", True)):
            limit = getattr(rule, name, None)
            if limit is None or (moved > limit if name[0] == "g" else moved < limit):
                continue
            if moved != limit or is_open:
                moved = (end + limit) / 2 if is_open else limit
                moved = round(moved) if isinstance(end, int) else float(f"{moved:.3g}")
    return None if moved == end else moved


def _number(value: Any, is_log: bool = False) -> str:
    """Write a number as people type it: 5e-5, 0.05, 16."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if (is_log and 0 < abs(value) < 0.1) or 0 < abs(value) < 1e-3:
        digits, power = f"{value:.2e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:g}"
