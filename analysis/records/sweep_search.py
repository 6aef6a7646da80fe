"""The search that chose a sweep's configurations, as sweep.json and the sweep's folder say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.objectives import Objective
from search_spaces.points import Search
from search_spaces.search import from_json
from search_spaces.spreads import Choice
from trainables.errors import UserError
from trainables.records import journal
from trainables.records.record import SweepFolder

GRID = "grid"  # the sampler that takes every cell


@dataclass(frozen=True)
class SweepSearch:
    """A search: its space, the sampler that ran and why, and the points that were told as infeasible."""

    space: Search
    sampler: str
    reason: str = ""
    infeasible: tuple[dict[str, Any], ...] = ()  # parameters and cause of each

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of a search with several, else none: its metric decides."""
        names = self.space.objectives
        return tuple(Objective(one.removeprefix("-"), one.startswith("-")) for one in names) if len(names) > 1 else ()

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a configuration that it moves, each once, in declared order; one of a single value is not."""
        moved = [one for one in self.space.axes if not isinstance(one.spread, Choice) or len(one.spread.values) > 1]
        return tuple(dict.fromkeys(axis.field for axis in moved))


def search_of(content: Mapping[str, Any] | None, folder: Path) -> SweepSearch | None:
    """Return the search that sweep.json keeps, None where the sweep has none.

    Raises:
        UserError: it is of a kind that this version does not know.
    """
    if content is None:
        return None
    try:
        space = from_json(content)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{SweepFolder(folder).sweep_path} has a search that this version cannot read: {error!r}"
        ) from None
    chosen = content.get("chosen") or {}
    points = journal.read(SweepFolder(folder).infeasible_path).rows
    return SweepSearch(space, chosen.get("sampler", space.sampler), chosen.get("reason", ""), tuple(points))
