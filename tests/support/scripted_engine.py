"""An engine that takes its steps when a test gives it leave, its jobs, and who follows them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from small_sweep import BASE, EVALUATION

from sweep.engine_actor.slots import Slots
from sweep.environment.lease import Process
from sweep.monitor.engine_status import TrialEnd
from trainables.config import TrainConfig, TrialConfig
from trainables.errors import UserError
from trainables.jobs import Control, DeviceLost, EngineSetup, Interrupted, OnReport, TrialJob, TrialReport
from trainables.records.record import Fence, TrialRecord, no_fence
from trainables.records.trial_result import TrialResult
from trainables.trial.preflight_report import PreflightReport

STEPS = 3


class Scripted:
    """Takes `STEPS` steps, each when the test gives it leave, and asks `control` between them."""

    name = "scripted"

    def __init__(self, setup: EngineSetup | None = None, fence: Fence = no_fence, slots: int = 1) -> None:
        self.slots = slots
        self.leave = threading.Semaphore(0)
        self.order: list[str] = []
        self.taken: dict[str, int] = {}

    def warm(self, trial: TrialConfig) -> None:
        pass

    def preflight(self, trials: list[TrialConfig]) -> PreflightReport:
        if trials[0].train.prompt == "refuse":
            raise UserError("the cue is cut")
        return PreflightReport(len(trials), said=(f"{len(trials)} trial was checked",))

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        name = Path(job.folder).name
        self.order.append(name)
        state = "done"
        for step in range(1, STEPS + 1):
            while not self.leave.acquire(timeout=0.02):
                if control() == "interrupt":
                    raise Interrupted("told to")
            if name.startswith("broken"):
                raise KeyError("no such tensor")
            if name.startswith("full"):
                raise Interrupted("the disk is full")
            if name.startswith("lost"):
                raise DeviceLost("a device-side assert")
            report(TrialReport(step, 1 / step))
            if control() == "stop":
                state = "stopped"
                break
            self.taken[name] = step
        result = TrialResult(state=state, steps=step)
        TrialRecord(Path(job.folder)).write_result(result)
        return result


def jobs(folder: Path, *names: str, baselines: Sequence[str] = ()) -> dict[str, TrialJob]:
    def trial(steps: int) -> TrialConfig:
        return TrialConfig(train=TrainConfig(**{**BASE, "max_steps": steps}), evaluation=EVALUATION)

    return {name: TrialJob(str(folder / name), trial(0 if name in baselines else STEPS)) for name in names}


def let_go(slots: Slots, steps: int = STEPS) -> None:
    slots.engine.leave.release(steps)  # type: ignore[attr-defined]


def begin(slots: Slots, key: str, caller: Process | None = None) -> None:
    assert slots.take(key, caller) == "taken"
    slots.next(key, 0)


def follow(slots: Slots, key: str) -> tuple[list[int], str]:
    """Follow a run to its end, as a trial does; returns the steps that were reported and how it ended."""
    steps: list[int] = []
    while True:
        event = slots.next(key, len(steps))
        if isinstance(event, TrialReport):
            steps.append(event.step)
        elif isinstance(event, TrialEnd):
            return steps, event.state
        time.sleep(0.005)
