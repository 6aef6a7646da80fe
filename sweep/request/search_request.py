"""What the command line asks of a search: `--search`, `--trials`, `--objectives` and ranges, on any experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.points import Search, cells
from search_spaces.samplers import MOST_CELLS_OF_A_GRID, SAMPLERS
from search_spaces.search_changes import searched, with_base, with_spreads
from search_spaces.spreads import Choice, Spread
from sweep.request.axes import Axes, Ranges
from trainables.errors import UserError, one_of

SMOKE_TRIALS = 2


def with_search(
    experiment: Experiment, axes: Axes, ranges: Ranges, sampler: str | None, trials: int | None, objectives: str | None
) -> Experiment:
    """Return an experiment with the search that is asked for; a grid stays one where none is.

    `experiment` has the other changes of the command line already, `axes` among them as far as a grid has them.
    """
    if sampler is not None:
        one_of("--search", sampler, SAMPLERS)
    if trials is not None and trials < 1:
        raise UserError(f"--trials must be at least 1, got {trials}")
    declared = experiment.search
    if declared is None and sampler is None:
        _check_grid(experiment, ranges, trials, objectives)
        return experiment
    if declared is not None and sampler is not None and declared.sampler not in ("auto", sampler):
        raise UserError(
            f"--search {sampler} and the sampler {declared.sampler} that {experiment.name} declares exclude each "
            "other: leave out --search"
        )
    spreads: dict[str, Spread] = {**{name: Choice(values) for name, values in axes.items()}, **ranges}
    space = with_spreads(declared or searched(experiment.grid, trials or 1), spreads)
    space = replace(
        space,
        sampler=sampler or space.sampler,
        trials=trials or (space.trials if declared else _all_cells(space, sampler)),
        objectives=space.objectives if objectives is None else tuple(map(str.strip, objectives.split(","))),
    )
    return experiment.with_search(space)


def smoke_search(space: Search, little: Mapping[str, Any]) -> Search:
    """Return a search of two points, with these fields in little for both."""
    return with_base(space, little, min(SMOKE_TRIALS, space.trials))


def _check_grid(experiment: Experiment, ranges: Ranges, trials: int | None, objectives: str | None) -> None:
    for name in ranges:
        raise UserError(
            f"{name} is given as a range, and {experiment.name} is a grid: add --search auto --trials 24, or give "
            f"values, {name}=VALUE,VALUE"
        )
    for option, value in (("--trials", trials), ("--objectives", objectives)):
        if value is not None:
            raise UserError(f"{option} {value} is for a search, and {experiment.name} is a grid: add --search auto")


def _all_cells(space: Search, sampler: str | None) -> int:
    """Return how many points a grid has that is searched without --trials; UserError where that is not all of them."""
    listed = cells(space)
    if listed is not None and (sampler == "grid" or (sampler == "auto" and len(listed) <= MOST_CELLS_OF_A_GRID)):
        return len(listed)
    has = "ranges, which have no end" if listed is None else f"{len(listed)} cells"
    raise UserError(f"--search {sampler} needs --trials N, the number of points to try: the space has {has}")
