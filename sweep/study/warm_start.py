"""Trials of another sweep that a search learns from, and why others of it cannot be used.

Whether the other sweep is of the same task (base, data, scores) is for the request to judge: here its records are read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from search_spaces.experiment import Experiment
from search_spaces.points import parameters_of
from sweep.study.from_records import Reading, reading_of, trial_of
from sweep.study.study_trial import UNFINISHED, PointState, StudyTrial
from trainables.records.atomic_files import DamagedFile
from trainables.records.record import SweepFolder, TrialRecord


@dataclass(frozen=True)
class WarmStart:
    """Finished trials of another sweep as points of this search, and the numbers of others by why they are none."""

    trials: tuple[StudyTrial, ...]
    left_out: dict[str, int]


def warm_start(other: SweepFolder, experiment: Experiment) -> WarmStart:
    """Read the trials of another sweep, baselines aside, as points of an experiment's search."""
    reading, name = reading_of(experiment), other.folder.name
    found, left_out = [], Counter[str]()
    for record in other.records():
        trial = trial_of(record, reading)
        if why := _why_not(record, trial, reading):
            left_out[why] += 1
        elif trial is not None:
            attributes = {**trial.attributes, "sweep": name, "warm_start": True}
            found.append(replace(trial, key=f"{name}/{trial.key}", attributes=attributes))
    del left_out[_BASELINE]
    return WarmStart(tuple(found), dict(left_out))


_BASELINE = "is a baseline"


def _why_not(record: TrialRecord, trial: StudyTrial | None, reading: Reading) -> str | None:
    if trial is None:
        return _why_no_point(record, reading)
    if trial.state in UNFINISHED:
        return "has not finished, or not by this evaluation"
    if trial.state is PointState.FAIL:
        result = record.result()
        return str(trial.cause) if result is not None and result.is_trained else "has failed"
    return None


def _why_no_point(record: TrialRecord, reading: Reading) -> str:
    try:
        train = record.train_config()
    except (FileNotFoundError, DamagedFile, ValueError):
        return "cannot be read"
    if train.is_baseline:
        return _BASELINE
    if parameters_of(reading.space, train) is None:
        return "is no point of this space"
    return "has another text of its prompt"
