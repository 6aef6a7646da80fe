"""How a value is written: one function for people, one for programs, by the style of its column."""

from __future__ import annotations

import math
from typing import Any

from trainables.units import duration, is_number, size
from trainables.visible_text import visible

NOTHING = "–"
FORMULA = "=+-@"  # a cell that begins with one of these is run, not shown


def cell(value: Any, style: str = "text") -> str:
    """Write a value for people: points with two decimals, sizes and times with their unit, a dash for nothing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "" if style == "mark" else NOTHING
    if style in _WRITERS:
        return _WRITERS[style](value)
    if isinstance(value, (tuple, list)):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def raw(value: Any, style: str = "text") -> str:
    """Write a value for programs: points with four decimals, other numbers plain, nothing for nothing."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ""
    if style == "points":
        return f"{100 * value:.4f}"
    if style in ("loss", "perplexity", "percent"):
        return f"{value:.6g}"
    if style in ("tenths", "seconds", "duration"):
        return f"{value:.3f}"
    return repr(value) if isinstance(value, float) else cell(value, "text")


def inert(text: str) -> str:
    """Write a text for a table that spreadsheets open too: one that they would run has an apostrophe before it."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip()[:1] in FORMULA and not is_number(shown) and shown.strip() else shown


def points(value: float, sign: bool = False) -> str:
    """Write a fraction as points: 0.3127 is '31.27'."""
    return f"{100 * value:+.2f}" if sign else f"{100 * value:.2f}"


def _number(value: float, decimals: int) -> str:
    """Write a number that may be huge (the perplexity of a diverged trial) in few characters."""
    if not math.isfinite(value) or abs(value) >= 100_000:
        return f"{value:.1e}"
    return f"{value:.{decimals}f}" if abs(value) < 1000 else f"{value:.0f}"


_WRITERS = {
    "mark": lambda value: {"best": "*", "runner-up": "+", "pareto": "*"}[value],
    "points": points,
    "loss": lambda value: _number(value, 3),
    "perplexity": lambda value: _number(value, 2 if value < 100 else 1),
    "tenths": lambda value: _number(value, 1),
    "seconds": lambda value: _number(value, 2),
    "percent": lambda value: f"{100 * value:.2f}%",
    "bytes": size,
    "duration": duration,
    "count": lambda value: f"{value:d}",
}
