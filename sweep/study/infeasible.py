"""Points that were predicted not to fit, in a journal of the sweep: told as violated constraints, never begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_spaces.points import Parameters, Search
from sweep.study.study_trial import PointState, StudyTrial
from trainables.records import journal
from trainables.records.record import SweepFolder


def with_infeasible(folder: SweepFolder, space: Search, trials: Sequence[StudyTrial]) -> list[StudyTrial]:
    """Return the trials of a sweep with the points of this space that it found not to fit, in the order of events."""
    after: dict[int, list[StudyTrial]] = {}
    count = 0
    for row in journal.read(folder.infeasible_path).rows:
        parameters = _parameters(space, row["parameters"])
        if parameters is not None:
            point = infeasible_point(count, row["train_id"], parameters, row["cause"], row["at"])
            after.setdefault(min(row["after"], len(trials)), []).append(point)
            count += 1
    found = []
    for place, trial in enumerate(trials):
        found += [*after.get(place, []), trial]
    return [*found, *after.get(len(trials), [])]


def keep_infeasible(folder: SweepFolder, point: StudyTrial, after: int) -> None:
    """Append a point that does not fit to the journal; the sweep has `after` trials of the search by now."""
    folder.fence()
    row = {"parameters": point.parameters, "cause": point.cause, "train_id": point.train_id}
    journal.append(folder.infeasible_path, {**row, "after": after, "at": point.ended_at})


def infeasible_point(number: int, train_id: str, parameters: Parameters, cause: str, at: str) -> StudyTrial:
    """Return a point that does not fit; it has no record, so that its key is only its number."""
    attributes = {"name": "infeasible", "train_id": train_id, "state": "infeasible", "cause": cause}
    key = f"infeasible-{number + 1:03d}"
    made = StudyTrial(key, train_id, parameters, PointState.INFEASIBLE, cause=cause, attributes=attributes)
    return replace(made, started_at=at, ended_at=at)


def _parameters(space: Search, kept: Mapping[str, Any]) -> Parameters | None:
    """Return parameters as the space has them, None where they are of another space."""
    axes = {axis.name: axis for axis in space.axes}
    fields = {**space.base.model_dump(), **{name: _value(one) for name, one in kept.items()}}
    if kept.keys() != {axis.name for axis in space.axes if axis.is_active(fields)}:
        return None
    found = {name: _value(value) for name, value in kept.items()}
    return found if all(axes[name].spread.holds(value) for name, value in found.items()) else None


def _value(kept: Any) -> Any:
    return tuple(kept) if isinstance(kept, list) else kept
