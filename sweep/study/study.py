"""The study of a sweep while it runs: what to try next, and what became of it. The records are the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from search_spaces.experiment import Experiment
from sweep.request.repair import trials_entry
from sweep.request.trials import PlannedTrial, TrialNames, known_trials
from sweep.study.from_records import Reading, reading_of, trial_of, trials_of
from sweep.study.infeasible import infeasible_point, infeasible_points, keep_infeasible
from sweep.study.next_point import NewPoint, next_point
from sweep.study.study_trial import PointState, StudyTrial
from trainables.config import TrainConfig, TrialConfig
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
    known = infeasible_points(folder, reading.space)
    return SearchStudy(folder, reading, chosen, infeasible, trials_of(folder, reading), known, tuple(warm))


class SearchStudy:
    """A search that goes on, called from one thread; `trials` are its points by the names of their folders."""

    def __init__(
        self,
        folder: SweepFolder,
        reading: Reading,
        chosen: str,
        judge: Judge,
        trials: Sequence[StudyTrial],
        infeasible: Sequence[StudyTrial],
        warm: tuple[StudyTrial, ...],
    ) -> None:
        self.folder = folder
        self.reading = reading
        self.chosen = chosen
        self.judge = judge
        self.trials = {one.key: one for one in trials}
        self.infeasible = list(infeasible)
        self.warm = warm
        self._tried = {one.train_id for one in (*trials, *infeasible)}
        self._names = TrialNames(reading.experiment, known_trials(folder))
        self._configs = planned_trials.unpacked(trials_entry(folder, ()))

    @property
    def remaining(self) -> int:
        """How many points are still to be asked for, as far as the space has any."""
        return max(0, self.reading.space.trials - len(self.trials))

    def ask(self) -> TrialJob | None:
        """Begin the next point and write its configuration; None where the search has all its points, or no more."""
        refused = 0
        while self.remaining and refused < MOST_INFEASIBLE:
            told = [*self.warm, *self.infeasible, *self.trials.values()]
            own = len(told) - len(self.warm)
            point = next_point(self.reading, self.chosen, told, self._tried, own)
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
        trial = self.trials.get(key)
        if trial is not None and eval_loss is not None:
            curve = {**dict(trial.curve), step: float(eval_loss)}
            self._keep(replace(trial, curve=tuple(sorted(curve.items()))))

    def ended(self, key: str) -> None:
        """Read what became of a trial from its record; without a result it is to be continued."""
        trial = trial_of(TrialRecord(self.folder.trials_folder / key), self.reading)
        if trial is not None and key in self.trials:
            is_left = trial.state is PointState.RUNNING
            self._keep(replace(trial, state=PointState.WAITING) if is_left else trial)

    def close(self) -> None:
        """Leave what is still running to the next run."""
        for trial in list(self.trials.values()):
            if trial.state is PointState.RUNNING:
                self._keep(replace(trial, state=PointState.WAITING))

    def _begin(self, point: NewPoint, train: TrainConfig) -> TrialJob:
        planned = self._names.give(TrialConfig(train=train, evaluation=self.reading.evaluation), point.train_id)
        self._write(planned)
        attributes = {"name": planned.name, "train_id": point.train_id, "state": "pending"}
        key = planned.folder_name
        self._tried.add(point.train_id)
        self._keep(StudyTrial(key, point.train_id, point.parameters, PointState.RUNNING, attributes=attributes))
        return TrialJob(str(self.folder.trials_folder / key), planned.trial)

    def _write(self, planned: PlannedTrial) -> None:
        """Write a trial into sweep.json and its own configuration, without a look at the others."""
        content = config_content(planned.trial, planned.index, planned.name, planned.label)
        self._configs[planned.folder_name] = content
        entry = planned_trials.packed(dict(sorted(self._configs.items())))
        self.folder.write_manifest(self.folder.manifest().model_copy(update={"trials": entry}))
        record = TrialRecord(self.folder.trials_folder / planned.folder_name, self.folder.fence)
        record.keep_config(content)

    def _refuse(self, point: NewPoint, cause: str) -> None:
        refused = infeasible_point(len(self.infeasible), point.train_id, point.parameters, cause)
        keep_infeasible(self.folder, refused)
        self.infeasible.append(refused)
        self._tried.add(point.train_id)

    def _keep(self, trial: StudyTrial) -> None:
        self.trials[trial.key] = trial
