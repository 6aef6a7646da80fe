"""A point that a search has tried, as the samplers and the study file see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_spaces.points import Parameters


class PointState(StrEnum):
    """How a point stands; all but the last are states of Optuna's too."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"  # begun, and continued by the next run
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"  # stopped early by a scheduler
    FAIL = "FAIL"
    INFEASIBLE = "INFEASIBLE"  # never begun: it was predicted not to fit


UNFINISHED = frozenset({PointState.RUNNING, PointState.WAITING})


@dataclass(frozen=True)
class StudyTrial:
    """A point of the space, what was found there, and the record that it stands for.

    `values` are those of the objectives, `curve` is (step, evaluation loss).
    """

    key: str  # name of its record's folder
    train_id: str
    parameters: Parameters
    state: PointState
    values: tuple[float, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    cause: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    started_at: str | None = None
    ended_at: str | None = None
