"""An engine whose process dies under one of its trials, as one does that is killed for its memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from small_sweep import EVALUATION

from trainables.config import TrialConfig
from trainables.jobs import Control, EngineSetup, Report, TrialJob
from trainables.record import Fence, TrialRecord


class DeadlyEngine:
    """Finishes every trial at once, except the one called B."""

    name = "deadly"

    def __init__(self, setup: EngineSetup, fence: Fence) -> None:
        self.fence = fence

    def warm(self, trial: TrialConfig) -> None:
        pass

    def preflight(self, trials: list[TrialConfig]) -> dict[str, Any]:
        return {}

    def run(self, job: TrialJob, report: Report, control: Control) -> dict[str, Any]:
        record = TrialRecord(Path(job.folder), self.fence)
        if record.config()["name"] == "B":
            os.kill(os.getpid(), signal.SIGKILL)
        record.write_evaluation(EVALUATION, {"test": []}, {"splits": {}})
        record.write_result({"state": "done", "steps": job.trial.train.max_steps})
        return {"state": "done"}
