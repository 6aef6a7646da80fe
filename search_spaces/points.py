"""A search space and its points.

A point of a search is both a `TrainConfig` and its parameters, a value by the name of each axis that is active there.
`point_of` and `parameters_of` go from one to the other and back, without loss: a record's configuration alone tells
which point of a search it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.grid import Grid
from search_spaces.spreads import Choice, FloatRange, IntegerRange, Ratio, Spread, as_text
from trainables.config import NOT_WEIGHTS, TrainConfig, configured

DIGITS = 4  # significant ones of a value that is drawn from a range: labels stay readable, none is needed more exactly
FILLED_IN = {"prompt_template", "tokenization"}  # by the plan, from the other fields
MOST_CELLS = 100_000  # of a search that are listed

Parameters = dict[str, Any]
"""A point: its value by the name of each axis that is active in it."""


@dataclass(frozen=True)
class SearchAxis:
    """A field of TrainConfig and what it may be, in points that have the values of `when` alone."""

    field: str
    spread: Spread
    when: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Return the name of its parameter: learning_rate, lora_alpha/lora_rank, optimizer[quantization=nf4]."""
        own = f"{self.field}/{self.spread.of}" if isinstance(self.spread, Ratio) else self.field
        conditions = ",".join(f"{field}={as_text(value)}" for field, value in self.when)
        return f"{own}[{conditions}]" if conditions else own

    def is_active(self, fields: Mapping[str, Any]) -> bool:
        return all(fields[name] == value for name, value in self.when)


@dataclass(frozen=True)
class Search:
    """A base configuration, the axes that a sampler moves, and how many points it may try.

    `trials` counts the points of the space that a sweep holds, whoever chose them. `objectives` are empty where the
    experiment's metric alone decides, else two or more names, those to be small with a minus before them.
    """

    base: TrainConfig
    axes: tuple[SearchAxis, ...]
    trials: int
    sampler: str = "auto"
    objectives: tuple[str, ...] = ()
    first: tuple[Parameters, ...] = ()  # points to begin with, by the names of axes
    seed: int = 42  # of the sampler

    @property
    def is_conditional(self) -> bool:
        return any(axis.when for axis in self.axes)

    @property
    def is_numeric(self) -> bool:
        """Tell whether no axis is a choice without an order; one of a single value is none."""
        return not any(isinstance(axis.spread, Choice) and len(axis.spread.values) > 1 for axis in self.axes)


def point_of(space: Search, parameters: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration of a point; UserError where its fields cannot be together."""
    fields = space.base.model_dump()
    for axis in sorted(space.axes, key=lambda axis: (isinstance(axis.spread, Ratio), bool(axis.when))):
        if not axis.is_active(fields):
            continue
        value = parameters[axis.name]
        fields[axis.field] = _field_value(axis, value, fields)
    return configured(TrainConfig, fields)


def parameters_of(space: Search, train: TrainConfig) -> Parameters | None:
    """Return the parameters of a configuration, None where it is no point of this search."""
    fields, base = train.model_dump(), space.base.model_dump()
    found: Parameters = {}
    moved = set()
    for axis in space.axes:
        if not axis.is_active(fields):
            continue
        moved.add(axis.field)
        value = fields[axis.field]
        if isinstance(axis.spread, Ratio):
            of = fields[axis.spread.of]
            value = _rounded(value / of) if of else math.nan  # a baseline has no steps
            if not axis.spread.low <= value <= axis.spread.high:
                return None
        elif not axis.spread.holds(value):
            return None
        found[axis.name] = value
    fixed = fields.keys() - moved - NOT_WEIGHTS - FILLED_IN
    return found if all(fields[name] == base[name] for name in fixed) else None


def cells(space: Search) -> list[Parameters] | None:
    """Return every point of a space of choices and whole numbers, None where it has no end or too many to list."""
    listed = [_values(axis.spread) for axis in space.axes]
    if any(values is None for values in listed) or math.prod(len(values or ()) for values in listed) > MOST_CELLS:
        return None
    found: dict[tuple[tuple[str, Any], ...], Parameters] = {}
    names = [axis.name for axis in space.axes]
    for values in itertools.product(*(values or () for values in listed)):
        whole = dict(zip(names, values, strict=True))
        fields = {**space.base.model_dump(), **{axis.field: whole[axis.name] for axis in space.axes if not axis.when}}
        point = {axis.name: whole[axis.name] for axis in space.axes if axis.is_active(fields)}
        found.setdefault(tuple(point.items()), point)
    return list(found.values())


def representatives(space: Search) -> list[TrainConfig]:
    """Return configurations in which every choice and both ends of every range occur, for judging before a run."""
    lowest = {axis.name: _ends(axis.spread)[0] for axis in space.axes}
    highest = {axis.name: _ends(axis.spread)[-1] for axis in space.axes}
    points = [lowest, highest]
    points += [{**lowest, axis.name: value} for axis in space.axes for value in _ends(axis.spread)]
    conditions = [axis for axis in space.axes if axis.when]
    by_field = {axis.field: axis.name for axis in space.axes if not axis.when}
    for axis in conditions:
        met = {by_field[name]: value for name, value in axis.when}
        points += [{**lowest, **met, axis.name: value} for value in _ends(axis.spread)]
    found = [point_of(space, point) for point in points]
    return list({train.model_dump_json(): train for train in found}.values())


def frame(space: Search) -> Grid:
    """Return base and axes as a grid has them, a range by its ends: what can be asked of any experiment."""
    axes: dict[str, tuple[Any, ...]] = {}
    for axis in space.axes:
        if not isinstance(axis.spread, Ratio):
            axes[axis.field] = tuple(dict.fromkeys((*axes.get(axis.field, ()), *_ends(axis.spread))))
    return Grid(space.base, axes)


def in_frame(space: Search, changed: Grid) -> Search:
    """Return the search with the base of its frame, and with the axes that were changed, added or left out there."""
    before = frame(space).axes
    axes = []
    for axis in space.axes:
        values = changed.axes.get(axis.field)
        if axis.when or (isinstance(axis.spread, Ratio) and values is None):
            axes.append(axis)
        elif values is not None:
            is_same = values == before.get(axis.field)
            axes.append(axis if is_same else SearchAxis(axis.field, Choice(values)))
    known = {axis.field for axis in space.axes}
    axes += [SearchAxis(field, Choice(values)) for field, values in changed.axes.items() if field not in known]
    return replace(space, base=changed.base, axes=tuple(axes))


def _field_value(axis: SearchAxis, value: Any, fields: Mapping[str, Any]) -> Any:
    spread = axis.spread
    if isinstance(spread, Choice | IntegerRange):
        return value
    value = min(max(_rounded(value), spread.low), spread.high)
    if isinstance(spread, FloatRange):
        return value
    product = value * fields[spread.of]
    return round(product) if TrainConfig.model_fields[axis.field].annotation is int else float(f"{product:.6g}")


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _ends(spread: Spread) -> tuple[Any, ...]:
    return spread.values if isinstance(spread, Choice) else (spread.low, spread.high)


def _values(spread: Spread) -> tuple[Any, ...] | None:
    if isinstance(spread, Choice):
        return spread.values
    if isinstance(spread, IntegerRange) and spread.high - spread.low < MOST_CELLS:
        return tuple(range(spread.low, spread.high + 1))
    return None
