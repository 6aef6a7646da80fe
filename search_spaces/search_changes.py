"""A search from a grid, and a search with other axes: what the command line and a stand-in change of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from search_spaces.grid import Grid
from search_spaces.points import Search, SearchAxis
from search_spaces.search import checked
from search_spaces.spreads import Choice, Spread


def searched(declared: Grid, trials: int, sampler: str = "auto", objectives: tuple[str, ...] = ()) -> Search:
    """Return a search whose axes are a grid's, each a choice of its values; UserError where it cannot be."""
    axes = tuple(SearchAxis(name, Choice(values)) for name, values in declared.axes.items())
    return checked(Search(declared.base, axes, trials, sampler, objectives))


def with_spreads(space: Search, spreads: Mapping[str, Spread]) -> Search:
    """Return the search with these axes replaced in their places, or added after the declared ones."""
    axes = [
        replace(axis, spread=spreads[axis.field]) if axis.field in spreads and not axis.when else axis
        for axis in space.axes
    ]
    known = {axis.field for axis in space.axes if not axis.when}
    axes += [SearchAxis(field, spread) for field, spread in spreads.items() if field not in known]
    return checked(replace(space, axes=tuple(axes)))
