"""The packed engine under a driver of this process: as many threads as there are trials, no Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.work import Work
from trainables.jobs import EngineSetup, Interrupted, TrialJob
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord


def engine_for(
    work: Work, sweep: SweepFolder, device: str, threads: int | None = None, memory_bytes: int | None = None
) -> PackedEngine:
    """Return an engine with a slot for every trial; the model is loaded when it is first needed."""
    folders = {work.first.model: str(work.base.model_folder)}
    sizes: dict[str, Any] = {"threads": threads, "pack_width": len(work.trials), "memory_bytes": memory_bytes}
    setup = EngineSetup(str(sweep.folder), folders, device, **sizes)
    return PackedEngine(setup)


def jobs_of(work: Work, sweep: SweepFolder) -> list[TrialJob]:
    """Give every trial its record."""
    jobs = []
    for index, trial in enumerate(work.trials):
        name = work.name(index)
        record = TrialRecord(sweep.trials_folder / f"{index + 1:03}-{name}-{trial.train_id}")
        record.write_config(trial, index + 1, name, name)
        jobs.append(TrialJob(str(record.folder), trial))
    return jobs


@dataclass
class Stamps:
    """When each step of a trial ended, by the clock of the wall: the engine asks its control after each."""

    job: TrialJob
    enough: Callable[[], bool]
    steps: list[float] = field(default_factory=list)
    _size: int = 0

    def control(self) -> Literal["go", "interrupt"]:
        path = TrialRecord(Path(self.job.folder)).metrics_path
        size = path.stat().st_size if path.exists() else 0
        if size != self._size:
            self._size = size
            self.steps.append(time.perf_counter())
        return "interrupt" if self.enough() else "go"


@dataclass(frozen=True)
class Window:
    """A stretch of time in which every trial of a pack was training, and the steps that ended in it."""

    seconds: float
    steps: list[tuple[int, int]]  # (trial, step from 0)


def train_for(engine: PackedEngine, jobs: list[TrialJob], warm: int, steps: int, began: Callable[[], Any]) -> Window:
    """Train all trials at once until each has made `warm` and then `steps` steps; evaluations are the caller's choice.

    `began` is called once, when every trial is warm. No result is written: the trials are interrupted.
    """
    stamps: list[Stamps] = []
    is_warm = threading.Event()

    def enough() -> bool:
        if not is_warm.is_set() and all(len(one.steps) >= warm for one in stamps):
            is_warm.set()
            began()
        return all(len(one.steps) >= warm + steps for one in stamps)

    stamps.extend(Stamps(job, enough) for job in jobs)

    def run(one: Stamps) -> None:
        try:
            result = engine.run(one.job, lambda row: None, one.control)
        except Interrupted:
            return
        raise RuntimeError(f"a trial ended before it was measured: {result.state}, {result.cause}")

    with ThreadPoolExecutor(len(jobs)) as threads:
        for future in [threads.submit(run, one) for one in stamps]:
            future.result()
    start = max(one.steps[warm - 1] for one in stamps)
    stop = max(one.steps[warm + steps - 1] for one in stamps)
    done = [
        (trial, number)
        for trial, one in enumerate(stamps)
        for number, moment in enumerate(one.steps)
        if start < moment <= stop
    ]
    return Window(stop - start, done)
