"""A grid: a base configuration and axes, each a field of TrainConfig with the values to try."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from trainables.config import TrainConfig, as_printed, configured
from trainables.errors import UserError, nearest, shown

MOST_VALUES = 10_000  # of an axis
MOST_CONFIGURATIONS = 20_000
FIXED = {  # one sweep has one data set; everything compared in it is scored on the same examples
    "data": "a sweep has one data set: use --data, or another experiment",
    "source_field": "a sweep has one data set: use --fields source=NAME",
    "target_field": "a sweep has one data set: use --fields target=NAME",
    "tokenization": "prompt and summary are tokenized as one text",
    "prompt_template": "name a prompt in the experiment's `prompts` and give its name on the axis `prompt`",
}


@dataclass(frozen=True)
class Grid:
    """A base configuration and the values of each axis, in declared order."""

    base: TrainConfig
    axes: dict[str, tuple[Any, ...]]

    def __post_init__(self) -> None:
        if not isinstance(self.base, TrainConfig):
            raise UserError(f"the base of a grid must be a TrainConfig(...), got {shown(self.base)}")
        if not isinstance(self.axes, dict):
            raise UserError(f"the axes of a grid must be like {{'lora_rank': (8, 16)}}, got {shown(self.axes)}")
        for name, values in self.axes.items():
            if not isinstance(values, list | tuple):
                raise UserError(f"axis {name} must be a list of values, got {shown(values)}")
        object.__setattr__(self, "axes", {name: tuple(map(as_printed, values)) for name, values in self.axes.items()})


def grid(base: TrainConfig, **axes: Iterable[Any]) -> Grid:
    """Declare a grid, `grid(base, lora_rank=[8, 16])`; raises UserError for a wrong axis or value."""
    empty = Grid(base, {})
    return Grid(base, {name: check_axis(empty.base, name, values) for name, values in axes.items()})


def with_axes(declared: Grid, axes: Mapping[str, Iterable[Any]]) -> Grid:
    """Return the grid with these axes replaced in place, or added after the declared ones."""
    return Grid(declared.base, {**declared.axes, **grid(declared.base, **axes).axes})


def expand(declared: Grid) -> list[TrainConfig]:
    """Return every configuration of the grid, the first axis slowest; UserError where a combination is wrong."""
    return list(_points(declared))


def size_of(declared: Grid) -> int:
    """Return how many configurations a grid has, without making them."""
    return math.prod(len(values) for values in declared.axes.values())


def _points(declared: Grid) -> Iterator[TrainConfig]:
    count = size_of(declared)
    if count > MOST_CONFIGURATIONS:
        sizes = " x ".join(f"{len(values)} of {name}" for name, values in declared.axes.items())
        raise UserError(f"a grid may have at most {MOST_CONFIGURATIONS:,} configurations, got {count:,}: {sizes}")
    fields = declared.base.model_dump()
    for point in itertools.product(*declared.axes.values()):
        yield configured(TrainConfig, {**fields, **dict(zip(declared.axes, point, strict=True))})


def check_axis(base: TrainConfig, name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    if name not in TrainConfig.model_fields:
        raise UserError(f"axis {name!r} is not a field of TrainConfig; {nearest(name, TrainConfig.model_fields)}")
    if name in FIXED:
        raise UserError(f"{name} cannot be an axis: {FIXED[name]}")
    values = as_printed(values)
    if isinstance(values, Set | Mapping):
        raise UserError(f"axis {name} must be a list of values in their order, got {shown(values)}")
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UserError(f"axis {name} must be a list of values, got {shown(values)}; write {name}=[{shown(values)}]")
    listed = tuple(itertools.islice(values, MOST_VALUES + 1))
    if not listed:
        raise UserError(f"axis {name} must have at least one value, got none")
    if len(listed) > MOST_VALUES:
        raise UserError(f"axis {name} must have at most {MOST_VALUES:,} values, got more")
    # A value that only another axis makes right (warm-up below the steps) is judged with its combination, in expand.
    alone = {key: value for key, value in base.model_dump().items() if key not in ("warmup_steps", "warmup_ratio")}
    if name in ("warmup_steps", "warmup_ratio", "max_steps"):
        alone["max_steps"] = 0
    return tuple(getattr(configured(TrainConfig, {**alone, name: value}), name) for value in listed)
