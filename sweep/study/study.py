"""The study of a sweep while it runs: what to try next, and what became of it. The records are the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from search_spaces.experiment import Experiment
from search_spaces.points import point_of
from sweep.environment.lease import LeaseLost
from sweep.request.repair import trials_entry
from sweep.request.trials import PlannedTrial, TrialNames, known_trials
from sweep.study.from_records import Reading, reading_of, trial_of, trials_of
from sweep.study.infeasible import infeasible_point, keep_infeasible, with_infeasible
from sweep.study.next_point import NewPoint, next_point
from sweep.study.study_file import LAST_S, LOCKED_S, StudyFile
from sweep.study.study_trial import PointState, StudyTrial
from trainables.config import TrainConfig, TrialConfig
from trainables.errors import UserError
from trainables.jobs import TrialJob
from trainables.records import planned_trials
from trainables.records.record import SweepFolder, TrialRecord, config_content

MOST_INFEASIBLE = 200  # in a row: the rest of the space is then taken not to fit either

Judge = Callable[[TrainConfig], str | None]
"""Says why a configuration cannot be run here, None where it can."""


def open_study(
    folder: SweepFolder, experiment: Experiment, chosen: str, infeasible: Judge, warm: Sequence[StudyTrial] = ()
) -> SearchStudy:
    """Return the study of a sweep's search, read from its records.

    `folder` carries the fence of the lease that is held; `chosen` is a sampler; `warm` are trials of other sweeps,
    which the sampler learns from.
    """
    reading = reading_of(experiment)
    warm = [replace(one, attributes={**one.attributes, "warm_start": True}) for one in warm]
    known = with_infeasible(folder, reading.space, trials_of(folder, reading))
    own = [one for one in known if one.state is not PointState.INFEASIBLE or _is_refused(one, reading, infeasible)]
    return SearchStudy(folder, reading, chosen, infeasible, [*warm, *own], len(warm))


def _is_refused(point: StudyTrial, reading: Reading, judge: Judge) -> bool:
    """Tell whether a point that once did not fit does not fit today: there may be more memory now."""
    try:
        return judge(reading.experiment.filled_in(point_of(reading.space, point.parameters))) is not None
    except UserError:
        return True


class SearchStudy:
    """A search that goes on, called from one thread.

    `told` are all points that the sampler knows, in order: the first `warm` of them are of other sweeps.
    """

    def __init__(
        self,
        folder: SweepFolder,
        reading: Reading,
        chosen: str,
        judge: Judge,
        told: Sequence[StudyTrial],
        warm: int,
    ) -> None:
        self.folder = folder
        self.reading = reading
        self.chosen = chosen
        self.judge = judge
        self.told = list(told)
        self.warm = warm
        self._number = {one.key: warm + place for place, one in enumerate(told[warm:])}
        self._tried = {one.train_id for one in told[warm:]}
        self._names = TrialNames(reading.experiment, known_trials(folder))
        self._configs = planned_trials.unpacked(trials_entry(folder, ()))
        self._file = StudyFile(folder, reading.experiment.name, reading.space, reading.objectives)
        self._file.open(dict(enumerate(told)))

    @property
    def fault(self) -> str | None:
        """Why the study file is not as it should be, None where it is; the search itself does not need it."""
        return self._file.fault

    @property
    def infeasible(self) -> int:
        """How many points of the search were predicted not to fit."""
        return sum(one.state is PointState.INFEASIBLE for one in self.told)

    @property
    def points(self) -> int:
        """How many points of the search this sweep holds, finished, failed or begun."""
        return len(self.told) - self.warm - self.infeasible

    @property
    def remaining(self) -> int:
        """How many points are still to be asked for, as far as the space has any."""
        return max(0, self.reading.space.trials - self.points)

    def ask(self) -> TrialJob | None:
        """Begin the next point and write its configuration; None where the search has all its points, or no more."""
        refused = 0
        while self.remaining and refused < MOST_INFEASIBLE:
            point = next_point(self.reading, self.chosen, self.told, self._tried, self.warm)
            if point is None:
                return None
            cause = point.cause if point.train is None else self.judge(point.train)
            if point.train is not None and cause is None:
                return self._begin(point, point.train)
            self._refuse(point, cause or "")
            refused += 1
        return None

    def report(self, key: str, step: int, eval_loss: float | None) -> None:
        """Take an evaluation loss of a running trial."""
        if key in self._number and eval_loss is not None:
            trial = self.told[self._number[key]]
            curve = {**dict(trial.curve), step: float(eval_loss)}
            self._keep(replace(trial, curve=tuple(sorted(curve.items()))))

    def ended(self, key: str) -> None:
        """Read what became of a trial from its record; without a result it waits for the next run."""
        trial = trial_of(TrialRecord(self.folder.trials_folder / key), self.reading)
        if trial is not None and key in self._number:
            self._keep(_waiting(trial) if trial.state is PointState.RUNNING else trial)

    def close(self) -> None:
        """Leave what is still running to the next run, and write what could not be written before.

        Where another driver has taken the sweep over, the study is its by now.
        """
        left = {number: _waiting(one) for number, one in enumerate(self.told) if one.state is PointState.RUNNING}
        for number, trial in left.items():
            self.told[number] = trial
        with contextlib.suppress(LeaseLost):
            self._file.write(left, LAST_S)

    def _begin(self, point: NewPoint, train: TrainConfig) -> TrialJob:
        planned = self._names.give(TrialConfig(train=train, evaluation=self.reading.evaluation), point.train_id)
        record = self._write(planned)
        trial = trial_of(record, self.reading)
        assert trial is not None, planned.folder_name  # it was made to be a point
        self._append(trial)
        return TrialJob(str(record.folder), planned.trial)

    def _write(self, planned: PlannedTrial) -> TrialRecord:
        """Write a trial into sweep.json and its own configuration, without a look at the others."""
        content = config_content(planned.trial, planned.index, planned.name, planned.label)
        self._configs[planned.folder_name] = content
        entry = planned_trials.packed(dict(sorted(self._configs.items())))
        self.folder.write_manifest(self.folder.manifest().model_copy(update={"trials": entry}))
        record = TrialRecord(self.folder.trials_folder / planned.folder_name, self.folder.fence)
        record.keep_config(content)
        return record

    def _refuse(self, point: NewPoint, cause: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        refused = infeasible_point(self.infeasible, point.train_id, point.parameters, cause, at)
        keep_infeasible(self.folder, refused, self.points)
        self._append(refused)

    def _append(self, trial: StudyTrial) -> None:
        self._number[trial.key] = len(self.told)
        self._tried.add(trial.train_id)
        self.told.append(trial)
        self._file.write({self._number[trial.key]: trial}, LOCKED_S)

    def _keep(self, trial: StudyTrial) -> None:
        number = self._number[trial.key]
        self.told[number] = trial
        self._file.write({number: trial}, LOCKED_S)


def _waiting(trial: StudyTrial) -> StudyTrial:
    return replace(trial, state=PointState.WAITING)
