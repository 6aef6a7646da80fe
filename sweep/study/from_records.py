"""The trials of a study, read from the records of a sweep: a record belongs to it if it is a point of its space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search_spaces.experiment import Experiment
from search_spaces.objectives import COSTS, Objective, objectives_of
from search_spaces.points import Parameters, Search
from sweep.request.search_points import point_in
from sweep.study.study_trial import PointState, StudyTrial
from trainables.config import EvalConfig, TrainConfig, eval_id
from trainables.metric_table import LOSS, metric_of
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import TrialState

ROUGES = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class Reading:
    """How the records of a sweep are read: as points of which space, judged by what."""

    experiment: Experiment
    space: Search
    objectives: tuple[Objective, ...]

    @property
    def evaluation(self) -> EvalConfig:
        return self.experiment.evaluation

    @property
    def split(self) -> str:
        """The split that the choice is made on: validation, or the only one there is."""
        return next(iter(self.evaluation.examples))


def reading_of(experiment: Experiment) -> Reading:
    """Return how the records of an experiment's search are read."""
    assert experiment.search is not None, experiment.name
    objectives = objectives_of(experiment.search.objectives, experiment.metric, experiment.evaluation)
    return Reading(experiment, experiment.search, objectives)


def trials_of(folder: SweepFolder, reading: Reading) -> list[StudyTrial]:
    """Return the trials of a sweep that are points of the space, whoever chose them, by index."""
    return [trial for record in folder.records() if (trial := trial_of(record, reading)) is not None]


def trial_of(record: TrialRecord, reading: Reading) -> StudyTrial | None:
    """Return what a record says of a point; None where it is no point of the space, or cannot be read."""
    try:
        content = record.config()
        train = TrainConfig.model_validate(content["train"])
    except (FileNotFoundError, atomic_files.DamagedFile, ValidationError, KeyError):
        return None
    point = point_in(reading.experiment, train, content["train_id"])
    return _told(record, content, point[1], reading) if point is not None else None


def _told(record: TrialRecord, content: dict[str, Any], parameters: Parameters, reading: Reading) -> StudyTrial:
    result, summary = record.result(), record.summary(eval_id(reading.evaluation))
    state, cause, values = _outcome(result, summary, reading)
    return StudyTrial(
        key=record.folder.name,
        train_id=content["train_id"],
        parameters=parameters,
        state=state,
        values=values,
        curve=curve_of(record),
        cause=cause,
        attributes=_attributes(content, result, summary, reading.split),
        started_at=(result and result.started_at) or _written_at(record.config_path),
        ended_at=(result.ended_at or _written_at(record.result_path)) if result else None,
    )


def _outcome(
    result: TrialResult | None, summary: EvaluationSummary | None, reading: Reading
) -> tuple[PointState, str | None, tuple[float, ...]]:
    if result is None or (result.is_trained and summary is None):
        return PointState.RUNNING, None, ()
    if not result.is_trained:
        return PointState.FAIL, result.cause or str(result.state), ()
    assert summary is not None
    found = {one.label: value_of(one, result, summary, reading.split) for one in reading.objectives}
    missing = [label for label, value in found.items() if value is None or not math.isfinite(value)]
    if missing:
        why = "is missing" if found[missing[0]] is None else "is not finite"
        return PointState.FAIL, f"{missing[0]} {why}", ()
    values = tuple(value for value in found.values() if value is not None)
    return (PointState.PRUNED if result.state is TrialState.STOPPED else PointState.COMPLETE), None, values


def value_of(objective: Objective, result: TrialResult, summary: EvaluationSummary, split: str) -> float | None:
    """Return the value of an objective, scores in points; None where the record lacks it."""
    if objective.is_cost:
        found, scale = getattr(result, COSTS[objective.name]), 1.0
    else:
        found, scale = summary.splits.get(split, {}).get(objective.name), metric_of(objective.name).scale
    return None if found is None else float(found) * scale


def curve_of(record: TrialRecord) -> tuple[tuple[int, float], ...]:
    """Return the evaluation losses of a trial by step, the last one of each step."""
    rows = [row for row in record.metrics() if row.get("kind") == "eval" and row.get(LOSS) is not None]
    return tuple(sorted({int(row["step"]): float(row[LOSS]) for row in rows}.items()))


def _attributes(
    content: dict[str, Any], result: TrialResult | None, summary: EvaluationSummary | None, split: str
) -> dict[str, Any]:
    scores = summary.splits.get(split, {}) if summary else {}
    found: dict[str, Any] = {
        "name": content["name"],
        "train_id": content["train_id"],
        "state": str(result.state if result else TrialState.PENDING),
        **{name: _if_finite(scores.get(name), metric_of(name).scale) for name in ROUGES},
        "trainable_parameters": result.trainable_parameters if result else None,
        "seconds": _if_finite(result.wall_s, 1.0) if result else None,
        "cause": result.cause if result else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _if_finite(value: float | None, scale: float) -> float | None:
    return round(value * scale, 4) if value is not None and math.isfinite(value) else None


def _written_at(path: Path) -> str | None:
    """Return when a file was written, None where it is gone."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
    except OSError:
        return None
