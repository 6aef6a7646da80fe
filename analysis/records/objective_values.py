"""What a trial is worth by each objective of a search: its scores, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.objectives import COSTS
from trainables.metric_table import metric_of
from trainables.units import duration, size

TITLES = {
    "trainable_parameters": "trainable parameters",
    "runtime_s": "runtime",
    "adapter_bytes": "size of the adapter",
}
WRITERS: dict[str, Callable[[float], str]] = {
    "trainable_parameters": "{:,.0f}".format,
    "runtime_s": duration,
    "adapter_bytes": size,
}


def objective_value(name: str, result: Mapping[str, Any], scores: Mapping[str, Any]) -> float | None:
    """Return a trial's value by an objective in the unit of its records, None where it is missing or not finite.

    Args:
        name: a score or a cost, without a sign.
        result: the fields of the trial's result.
        scores: the means of its evaluation on the split that the choice is made on.
    """
    found = result.get(COSTS[name]) if name in COSTS else scores.get(name)
    return float(found) if found is not None and math.isfinite(found) else None


def objective_title(name: str) -> str:
    """Return what an objective is called in sentences."""
    return TITLES[name] if name in TITLES else metric_of(name).title


def objective_text(name: str, value: float) -> str:
    """Write a value of an objective for people."""
    if name in WRITERS:
        return WRITERS[name](value)
    one = metric_of(name)
    return f"{one.scale * value:.{2 if one.kind == 'text' else 3}f}"
