"""What a trial is worth by each objective of a search: its scores, and what it costs (no torch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.metric_table import metric_of
from trainables.units import duration, size


@dataclass(frozen=True)
class TrialCost:
    """A cost of a trial as an objective: the field of its result, its title in sentences, and how it is written."""

    field: str
    title: str
    written: Callable[[float], str]


COSTS = {
    "trainable_parameters": TrialCost("trainable_parameters", "trainable parameters", "{:,.0f}".format),
    "adapter_bytes": TrialCost("adapter_bytes", "size of the adapter", size),
    "runtime_s": TrialCost("wall_s", "runtime", duration),
}
"""Costs by the name of the objective; less is better."""


def objective_value(name: str, result: Mapping[str, Any], scores: Mapping[str, Any]) -> float | None:
    """Return a trial's value by an objective in the unit of its records, None where it is missing or not finite.

    Args:
        name: a score or a cost, without a sign.
        result: the fields of the trial's result.
        scores: the means of its evaluation on the split that the choice is made on.
    """
    found = result.get(COSTS[name].field) if name in COSTS else scores.get(name)
    return float(found) if found is not None and math.isfinite(found) else None


def objective_title(name: str) -> str:
    """Return what an objective is called in sentences."""
    return COSTS[name].title if name in COSTS else metric_of(name).title


def objective_text(name: str, value: float) -> str:
    """Write a value of an objective for people."""
    if name in COSTS:
        return COSTS[name].written(value)
    one = metric_of(name)
    return f"{one.scale * value:.{2 if one.kind == 'text' else 3}f}"
