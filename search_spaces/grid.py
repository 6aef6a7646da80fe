"""A grid: a base configuration and axes, each a field of TrainConfig with the values to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trainables.config import TrainConfig, configured
from trainables.errors import UserError, nearest

FIXED = {  # one sweep has one data set; everything compared in it is scored on the same examples
    "data": "a sweep has one data set: use --data, or another experiment",
    "source_field": "a sweep has one data set: use --fields source=NAME",
    "target_field": "a sweep has one data set: use --fields target=NAME",
    "prompt_template": "name a prompt in the experiment's `prompts` and give its name on the axis `prompt`",
}


@dataclass(frozen=True)
class Grid:
    """A base configuration and the values of each axis, in declared order."""

    base: TrainConfig
    axes: dict[str, tuple[Any, ...]]


def grid(base: TrainConfig, **axes: Iterable[Any]) -> Grid:
    """Declare a grid, `grid(base, lora_rank=[8, 16])`; raises UserError for a wrong axis or value."""
    return Grid(base, {name: _values(base, name, values) for name, values in axes.items()})


def with_axes(declared: Grid, axes: Mapping[str, Iterable[Any]]) -> Grid:
    """Return the grid with these axes replaced in place, or added after the declared ones."""
    return Grid(declared.base, {**declared.axes, **grid(declared.base, **axes).axes})


def expand(declared: Grid) -> list[TrainConfig]:
    """Return every configuration of the grid, the first axis slowest; UserError where a combination is wrong."""
    return list(_points(declared))


def _points(declared: Grid) -> Iterator[TrainConfig]:
    fields = declared.base.model_dump()
    for point in itertools.product(*declared.axes.values()):
        yield configured(TrainConfig, {**fields, **dict(zip(declared.axes, point, strict=True))})


def _values(base: TrainConfig, name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    if name not in TrainConfig.model_fields:
        raise UserError(f"axis {name!r} is not a field of TrainConfig; {nearest(name, TrainConfig.model_fields)}")
    if name in FIXED:
        raise UserError(f"{name} cannot be an axis: {FIXED[name]}")
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UserError(f"axis {name} must be a list of values, got {values!r}; write {name}=[{values!r}]")
    listed = tuple(values)
    if not listed:
        raise UserError(f"axis {name} must have at least one value, got none")
    # A value that only another axis makes right (warm-up below the steps) is judged with its combination, in expand.
    alone = {key: value for key, value in base.model_dump().items() if key not in ("warmup_steps", "warmup_ratio")}
    if name in ("warmup_steps", "warmup_ratio", "max_steps"):
        alone["max_steps"] = 0
    return tuple(getattr(configured(TrainConfig, {**alone, name: value}), name) for value in listed)
