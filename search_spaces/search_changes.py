"""A search from a grid, and a search with other axes: what the command line and a stand-in change of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search_spaces.grid import Grid
from search_spaces.points import Search, SearchAxis
from search_spaces.search import checked, spread_of
from search_spaces.spreads import Choice, Spread
from trainables.config import TrainConfig, configured


def searched(declared: Grid, trials: int) -> Search:
    """Return a search whose axes are a grid's, each a choice of its values; it may have none yet."""
    axes = tuple(SearchAxis(name, Choice(values)) for name, values in declared.axes.items())
    return Search(declared.base, axes, trials)


def with_spreads(space: Search, spreads: Mapping[str, Spread]) -> Search:
    """Return the search with these axes replaced in their places, or added; one value alone is fixed for all points."""
    for field, spread in spreads.items():
        spread_of(space.base, field, list(spread.values) if isinstance(spread, Choice) else spread)
    fixed = {name: one.values[0] for name, one in spreads.items() if isinstance(one, Choice) and len(one.values) == 1}
    space = with_base(space, fixed, space.trials)
    spreads = {name: one for name, one in spreads.items() if name not in fixed}
    axes = [
        replace(axis, spread=spreads[axis.field]) if axis.field in spreads and not axis.when else axis
        for axis in space.axes
    ]
    known = {axis.field for axis in space.axes if not axis.when}
    axes += [SearchAxis(field, spread) for field, spread in spreads.items() if field not in known]
    return checked(replace(space, axes=tuple(axes)))


def with_base(space: Search, fields: Mapping[str, Any], trials: int) -> Search:
    """Return the search with these fields fixed for all points, no longer axes, and fewer or more trials.

    An axis whose condition is met by all points then has it no longer; one whose condition none meets is left out.
    """
    base = configured(TrainConfig, {**space.base.model_dump(), **fields})
    fixed = {name: getattr(base, name) for name in fields}
    left = {
        axis.name: replace(axis, when=tuple(one for one in axis.when if one[0] not in fixed))
        for axis in space.axes
        if axis.field not in fixed and all(fixed.get(name, value) == value for name, value in axis.when)
    }
    axes = tuple(left.values())
    first = tuple({left[name].name: value for name, value in one.items() if name in left} for one in space.first)
    return replace(space, base=base, axes=axes, trials=trials, first=first)
