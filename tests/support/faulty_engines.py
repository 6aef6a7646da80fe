"""Engines with a fault that a real one has only when memory or disk are short."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from small_sweep import EVALUATION

from trainables.config import TrialConfig
from trainables.jobs import Control, EngineSetup, Interrupted, OnReport, TrialJob
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import Fence, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.trial.preflight_report import PreflightReport


class DeadlyEngine:
    """Finishes every trial at once; its process dies under the one called B, as if killed for its memory."""

    name = "deadly"

    def __init__(self, setup: EngineSetup, fence: Fence) -> None:
        self.fence = fence

    def warm(self, trial: TrialConfig) -> None:
        pass

    def preflight(self, trials: list[TrialConfig]) -> PreflightReport:
        return PreflightReport(len(trials))

    def break_down(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        record = TrialRecord(Path(job.folder), self.fence)
        if record.config()["name"] == "B":
            self.break_down()
        record.write_evaluation(EVALUATION, {"test": []}, EvaluationSummary(splits={}))
        result = TrialResult(state="done", steps=job.trial.train.max_steps)
        record.write_result(result)
        return result


class UnbuildableEngine(DeadlyEngine):
    """Cannot be built, for a reason that nobody has thought of."""

    def __init__(self, setup: EngineSetup, fence: Fence) -> None:
        raise RuntimeError("the library\nis too old")


class FullEngine(DeadlyEngine):
    """Can write nothing any more from the trial called B on."""

    name = "full"

    def break_down(self) -> None:
        raise Interrupted("the disk is full")


class MortalEngine(DeadlyEngine):
    """Dies in its own code while it loads: each time where the sweep's folder says so, else the first time alone."""

    name = "mortal"

    def __init__(self, setup: EngineSetup, fence: Fence) -> None:
        super().__init__(setup, fence)
        self.folder = Path(setup.sweep_folder)

    def warm(self, trial: TrialConfig) -> None:
        mark = self.folder / "died-once"
        if not mark.exists() or (self.folder / "always").exists():
            mark.touch()
            os.write(2, b"some warning\nfree(): invalid next size (fast)\n")
            os.abort()

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        record = TrialRecord(Path(job.folder), self.fence)
        record.write_evaluation(EVALUATION, {"test": []}, EvaluationSummary(splits={}))
        result = TrialResult(state="done", steps=job.trial.train.max_steps)
        record.write_result(result)
        return result


class DeafEngine(MortalEngine):
    """Hears nothing while it evaluates, for longer than a signal may take."""

    name = "deaf"

    def warm(self, trial: TrialConfig) -> None:
        pass

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        (self.folder / "evaluating").touch()
        time.sleep(60)
        return super().run(job, report, control)
