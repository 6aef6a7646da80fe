"""The trials of a launch: those that were planned, and those that a search adds while it runs (no ray, no torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from sweep.environment.lease import LeaseLost
from sweep.ray_driver.pack_order import by_pack
from sweep.study.end_running import end_running
from sweep.study.study import SearchStudy
from trainables.config import EvalConfig
from trainables.jobs import TrialJob
from trainables.records.finished import is_finished


class LaunchTrials:
    """Jobs by the name of their trial's folder; any thread may look, one adds."""

    def __init__(self, jobs: Iterable[TrialJob], study: SearchStudy | None = None) -> None:
        self.jobs = {Path(job.folder).name: job for job in by_pack(jobs)}
        self.study = study
        self.to_come = study.remaining if study is not None else 0

    @property
    def total(self) -> int:
        """Return how many there will be, those counted that a search has still to choose."""
        return len(self.jobs) + self.to_come

    @property
    def evaluation(self) -> EvalConfig:
        """Return the evaluation of the trials that a search adds; those there are may be none, when it is extended."""
        return self.study.reading.evaluation if self.study else next(iter(self.jobs.values())).trial.evaluation

    def ask(self) -> str | None:
        """Have the search choose another trial, and return its key; None where it has no further one."""
        if self.study is None:
            return None
        job = self.study.ask()
        if job is None:
            self.to_come = 0
            return None
        key = Path(job.folder).name
        self.jobs = {**self.jobs, key: job}  # a new one, since others may be going through it
        self.to_come = self.study.remaining
        return key

    def close(self, is_in_use: bool) -> None:
        """Leave what is running to the next run; where a thread may still use the study, in its file alone."""
        if self.study is None:
            return
        if is_in_use:
            end_running(self.study.folder.study_path)
        else:
            with contextlib.suppress(LeaseLost):  # the study is another run's
                self.study.close()

    def unfinished(self) -> dict[str, TrialJob]:
        """Return the trials that lack a result or their evaluation."""
        return {key: job for key, job in self.jobs.items() if not is_finished(job)}
