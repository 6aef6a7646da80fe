"""The next point of a search that is new: first the given ones, then the sampler's, at last whatever is left."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.points import Parameters, Search, cells, parameters_of, point_of
from search_spaces.spreads import Ratio
from sweep.study.from_records import Reading
from sweep.study.proposals import propose
from sweep.study.samplers import seed_of
from sweep.study.study_trial import StudyTrial
from trainables.config import TrainConfig, TrialConfig, digest
from trainables.errors import UserError

ATTEMPTS = 20  # of the sampler at a point that is new: then its space is as good as used up
RANDOM_ATTEMPTS = 200  # after those, where the space cannot be listed
ROUNDING = 1e-3  # by which a given value may differ from the point that was made of it


@dataclass(frozen=True)
class NewPoint:
    """A point that has not been tried; `cause` says why it cannot be, where its fields exclude each other."""

    parameters: Parameters
    train_id: str
    train: TrainConfig | None = None
    cause: str | None = None


def next_point(
    reading: Reading, chosen: str, told: Sequence[StudyTrial], tried: Collection[str], warm: int
) -> NewPoint | None:
    """Return the next point by identity, None where there is none left; the first `warm` trials are of other sweeps."""
    for parameters in _candidates(reading, chosen, told, told[warm:]):
        point = _point(reading, parameters)
        if point is not None and point.train_id not in tried:
            return point
    return None


def _point(reading: Reading, parameters: Parameters) -> NewPoint | None:
    try:
        train = reading.experiment.filled_in(point_of(reading.space, parameters))
    except UserError as error:
        return NewPoint(parameters, digest({"point": parameters}), cause=str(error))
    canonical = parameters_of(reading.space, train)
    if canonical is None:  # rounded out of its range
        return None
    return NewPoint(canonical, TrialConfig(train=train, evaluation=reading.evaluation).train_id, train)


def _candidates(
    reading: Reading, chosen: str, told: Sequence[StudyTrial], own: Sequence[StudyTrial]
) -> Iterator[Parameters]:
    space, objectives = reading.space, reading.objectives
    listed = cells(space)
    pending = [one for one in space.first if not any(_agrees(space, trial.parameters, one) for trial in own)]
    if chosen == "grid":
        every = listed or []
        yield from (cell for one in pending for cell in every if _agrees(space, cell, one))
        yield from every
        return
    for fixed in pending:
        yield from (propose(space, chosen, objectives, told, attempt, fixed) for attempt in range(ATTEMPTS))
    if listed is None or len(listed) > len(own):
        yield from (propose(space, chosen, objectives, told, attempt) for attempt in range(ATTEMPTS))
    if listed is not None:
        draw = random.Random(seed_of(space.seed, len(told), ATTEMPTS))
        yield from draw.sample(listed, len(listed))
        return
    for attempt in range(ATTEMPTS, ATTEMPTS + RANDOM_ATTEMPTS):
        yield propose(space, "random", objectives, told, attempt)


def _agrees(space: Search, parameters: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Tell whether a point has all the values of a given one, which may have been rounded, ratios to whole numbers."""
    if not given.keys() <= parameters.keys():
        return False
    if all(_is_same(parameters[name], value) for name, value in given.items()):
        return True
    ratios = {axis.name for axis in space.axes if isinstance(axis.spread, Ratio)}
    if not all(name in ratios or _is_same(parameters[name], value) for name, value in given.items()):
        return False
    try:
        return point_of(space, {**parameters, **given}) == point_of(space, parameters)
    except UserError:
        return False


def _is_same(value: Any, given: Any) -> bool:
    if isinstance(value, float) and isinstance(given, int | float):
        return math.isclose(value, given, rel_tol=ROUNDING)
    return bool(value == (tuple(given) if isinstance(given, list) else given))
