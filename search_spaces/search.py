"""A search, declared: ranges, choices, ratios and conditions, checked, and kept in sweep.json."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.grid import check_axis
from search_spaces.points import Parameters, Search, SearchAxis, representatives
from search_spaces.spreads import Choice, FloatRange, IntegerRange, Ratio, Spread, as_text
from trainables.config import TrainConfig, configured
from trainables.errors import UserError, nearest, shown


@dataclass(frozen=True)
class Conditional:
    """Axes that are there in points with the values of `when` alone."""

    when: tuple[tuple[str, Any], ...]
    axes: tuple[tuple[str, Any], ...]


def uniform(low: float, high: float) -> FloatRange:
    """Return numbers from `low` to `high`."""
    return FloatRange(low, high)


def log_uniform(low: float, high: float) -> FloatRange:
    """Return numbers from `low` to `high` whose logarithm is uniform, as a learning rate's should be."""
    return FloatRange(low, high, log=True)


def integer(low: int, high: int, log: bool = False) -> IntegerRange:
    """Return whole numbers from `low` to `high`, both included."""
    return IntegerRange(low, high, log)


def ratio(of: str, low: float, high: float, log: bool = False) -> Ratio:
    """Return a field that is `low` to `high` times another one: lora_alpha=ratio("lora_rank", 1, 4)."""
    return Ratio(of, low, high, log)


def when(**fields: Any) -> Conditional:
    """Return axes for some points alone: when(quantization="nf4", optimizer=[...]): values are conditions."""
    conditions = tuple((name, value) for name, value in fields.items() if not _is_spread(value))
    axes = tuple((name, value) for name, value in fields.items() if _is_spread(value))
    if not conditions or not axes:
        missing = "a condition, such as quantization='nf4'" if not conditions else "an axis, such as lora_rank=[8, 16]"
        raise UserError(f"when(...) needs {missing}, got {', '.join(fields) or 'nothing'}")
    return Conditional(conditions, axes)


def search(
    base: TrainConfig,
    *conditional: Conditional,
    trials: int,
    sampler: str = "auto",
    objectives: tuple[str, ...] = (),
    first: list[dict[str, Any]] | tuple[dict[str, Any], ...] = (),
    **axes: Any,
) -> Search:
    """Declare a search, `search(base, learning_rate=log_uniform(5e-5, 5e-3), lora_rank=[8, 16], trials=24)`.

    Raises UserError for a wrong axis, range or value.
    """
    for name, value in (("objectives", objectives), ("first", first)):
        if not isinstance(value, list | tuple):
            raise UserError(f"{name} must be a list, got {shown(value)}; write {name}=[{shown(value)}]")
    if wrong := [one for one in first if not isinstance(one, dict)]:
        raise UserError(f"first must be points like {{'lora_rank': 8}}, got {shown(wrong[0])}")
    declared = [_axis(base, name, value) for name, value in axes.items()]
    for one in conditional:
        declared += [_axis(base, name, value, one.when) for name, value in one.axes]
    return checked(Search(base, tuple(declared), trials, sampler, tuple(objectives), tuple(dict(one) for one in first)))


# --- checks


def checked(space: Search) -> Search:
    """Return the search; UserError where it cannot be, naming key, value and rule."""
    if not isinstance(space.base, TrainConfig):
        raise UserError(f"the base of a search must be a TrainConfig(...), got {shown(space.base)}")
    if not isinstance(space.trials, int) or isinstance(space.trials, bool) or space.trials < 1:
        raise UserError(f"trials must be a whole number of at least 1, got {shown(space.trials)}")
    if not space.axes:
        raise UserError("a search needs at least one axis, such as learning_rate=log_uniform(5e-5, 5e-3)")
    choices = {axis.field: axis.spread.values for axis in space.axes if isinstance(axis.spread, Choice)}
    for axis in space.axes:
        if axis.field == "data_seed" and not isinstance(axis.spread, Choice):
            raise UserError("data_seed must be a list of values, got a range: a sweep keeps the examples of each seed")
        for name, value in axis.when:
            if name in {one.field for one in space.axes if one.when}:
                raise UserError(f"{axis.name}: a condition must be on an axis that all points have, and {name} is not")
            if value not in choices.get(name, ()):
                if name not in choices:
                    raise UserError(f"{axis.name}: {name!r} is no axis with a list of values; {nearest(name, choices)}")
                had = ", ".join(map(as_text, choices[name]))
                raise UserError(f"{axis.name}: no point has {name}={as_text(value)}; {name} has {had}")
        if isinstance(axis.spread, Ratio):
            _check_ratio(space, axis.field, axis.spread.of)
    for axis, other in itertools.combinations(space.axes, 2):
        if axis.field == other.field and not _exclude(axis, other):
            raise UserError(
                f"{axis.name} and {other.name} are two axes of {axis.field} in the same points: give it one, or "
                "conditions that exclude each other"
            )
    representatives(space)  # judges every value
    names = {axis.name: axis for axis in space.axes}
    for one in space.first:
        if unknown := sorted(one.keys() - names.keys()):
            raise UserError(f"first: {unknown[0]!r} is no axis of this search; axes: {', '.join(sorted(names))}")
        for name, value in one.items():
            if not names[name].spread.holds(tuple(value) if isinstance(value, list) else value):
                raise UserError(f"first: {name}={as_text(value)} is not {names[name].spread.told}")
    return replace(space, first=tuple(_with_conditions(one, names) for one in space.first))


def _with_conditions(first: Parameters, axes: Mapping[str, SearchAxis]) -> Parameters:
    """Return a point to begin with, and the values that the axes it names are there for."""
    found = dict(first)
    for name in first:
        for field, value in axes[name].when:
            if found.setdefault(field, value) != value:
                raise UserError(f"first: {name} is no axis of points with {field}={as_text(found[field])}")
    return found


def _check_ratio(space: Search, field: str, of: str) -> None:
    numbers = [name for name, one in TrainConfig.model_fields.items() if one.annotation in (int, float)]
    if of not in numbers:
        raise UserError(f"ratio of {of!r} is not possible: it must be a field that is a number; {nearest(of, numbers)}")
    if of in {axis.field for axis in space.axes if isinstance(axis.spread, Ratio)}:
        raise UserError(f"{field} cannot be a ratio to {of}, which is a ratio itself")


def _exclude(one: SearchAxis, other: SearchAxis) -> bool:
    """Tell whether no point has both axes."""
    return any(dict(other.when).get(name, value) != value for name, value in one.when)


def _axis(base: TrainConfig, name: str, value: Any, conditions: tuple[tuple[str, Any], ...] = ()) -> SearchAxis:
    return SearchAxis(name, spread_of(base, name, value), conditions)


def spread_of(base: TrainConfig, name: str, value: Any) -> Spread:
    """Return a range as it is and values as a choice; UserError for a field or a value that cannot be."""
    ends: Any = value
    field = TrainConfig.model_fields.get(name)
    if isinstance(value, FloatRange) and field is not None and field.annotation is int:
        raise UserError(f"{name} is a whole number, so its range is {name}=integer({value.low:g}, {value.high:g})")
    if isinstance(value, FloatRange | IntegerRange):
        ends = [value.low, value.high]
    elif isinstance(value, Ratio):
        ends = [base.model_dump().get(name)]
    values = check_axis(base, name, ends)
    return value if isinstance(value, FloatRange | IntegerRange | Ratio) else Choice(values)


def _is_spread(value: Any) -> bool:
    return isinstance(value, list | FloatRange | IntegerRange | Ratio)


# --- in sweep.json


def as_json(space: Search) -> dict[str, Any]:
    """Return a search as JSON knows it."""
    axes = []
    for axis in space.axes:
        spread = dict(vars(axis.spread))
        kind = type(axis.spread).__name__
        axes.append({"field": axis.field, "kind": kind, **spread, "when": [list(one) for one in axis.when]})
    return {
        "base": space.base.model_dump(mode="json"),
        "axes": axes,
        "trials": space.trials,
        "sampler": space.sampler,
        "objectives": list(space.objectives),
        "first": [dict(one) for one in space.first],
        "seed": space.seed,
    }


def from_json(content: Mapping[str, Any]) -> Search:
    """Return the search that `as_json` gave."""
    kinds: dict[str, type[Spread]] = {one.__name__: one for one in (FloatRange, IntegerRange, Choice, Ratio)}
    axes = []
    for one in content["axes"]:
        spread = {name: value for name, value in one.items() if name not in ("field", "kind", "when")}
        if "values" in spread:
            spread["values"] = tuple(_hashable(value) for value in spread["values"])
        conditions = tuple((name, _hashable(value)) for name, value in one["when"])
        axes.append(SearchAxis(one["field"], kinds[one["kind"]](**spread), conditions))
    return Search(
        base=configured(TrainConfig, dict(content["base"])),
        axes=tuple(axes),
        trials=content["trials"],
        sampler=content["sampler"],
        objectives=tuple(content["objectives"]),
        first=tuple({name: _hashable(value) for name, value in one.items()} for one in content["first"]),
        seed=content["seed"],
    )


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
