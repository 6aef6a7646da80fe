"""The systems of the makespan, and one measurement of one of them in processes of its own, kept as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import timeline
from benchmarks.bases import HOUSE
from benchmarks.memory import PeakOfTree
from benchmarks.peers.job import Job, write_job
from benchmarks.project import Watch, command_of, write_experiment
from benchmarks.timeline import Times
from benchmarks.work import CADENCE_STEPS, Work, to_json
from trainables.config import digest
from trainables.records import atomic_files

SYSTEMS = {  # a name for the table, and a sentence below it
    "a": ("Ray Tune, Trainer + PEFT", "plain Ray Tune, a process per trial with Hugging Face's Trainer and PEFT"),
    "b": ("Trainer + PEFT in turn", "the same, one trial after another in one process that loads the base once"),
    "c": ("loop over PEFT adapters", "naive packing: one base, set_adapter for each adapter in every micro-batch"),
    "d": ("this project", "python -m sweep.run --engine packed, under Ray, from the command to the comparison"),
    "d0": ("this project without Ray", "the packed engine alone, under a driver in its own process"),
    "e": ("processes sharing the GPU", "(b) with a process per trial, all at once"),
    "f": ("compiled solo runs", "(b) with torch_compile"),
}
MODULES = {"a": "ray_tune", "b": "one_process", "c": "per_adapter", "d0": "engine_alone", "e": "one_process"}
MODULES["f"] = "one_process"
OURS = ("d", "d0")
NEED_GPU = ("e", "f")
A_BASE_EACH = ("a", "e")  # trials load their own
NAIVE_PACK = 2  # adapters of (c) where it is extended
WATCH_S = 0.25


@dataclass(frozen=True)
class Card:
    """A smaller GPU than the one at hand, assumed: what a process may use, and the precision that it would take."""

    title: str
    memory_gib: float
    cores: int
    precision: str

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * 2**30)


CARDS = {"t4": Card("a T4, assumed on this GPU", 14.7, 2, "fp16")}


@dataclass(frozen=True)
class Plan:
    """What to measure of one system: `steps` and `chosen` trials of the work, which may be a part of it."""

    system: str
    work: Work
    device: str
    at_a_time: int
    steps: int
    chosen: tuple[int, ...]
    card: Card | None = None

    @property
    def precision(self) -> str:
        return self.work.first.precision

    @property
    def is_whole(self) -> bool:
        return self.steps == self.work.first.max_steps and len(self.chosen) == len(self.work.trials)

    @property
    def key(self) -> str:
        lanes = str(self.at_a_time) if self.system == "a" else ""
        return f"{self.system}{lanes}-{self.precision}"

    @property
    def identity(self) -> str:
        """Tell measurements of the same work on the same device apart from others."""
        card = self.card.title if self.card else None
        return digest([json.loads(to_json(self.work)), self.device, self.at_a_time, self.steps, self.chosen, card])


def plan_for(
    system: str, work: Work, device: str, at_a_time: int = 1, peer_steps: int = 0, card: Card | None = None
) -> Plan:
    """Return what to measure: all of the work, or of a peer `peer_steps` steps of its first trials.

    Those have the shorter prompt, which favours the peer.
    """
    every, steps = tuple(range(len(work.trials))), work.first.max_steps
    if system in OURS or not 0 < peer_steps < steps or system == "e":
        return Plan(system, work, device, at_a_time, steps, every, card)
    count = {"a": at_a_time, "c": NAIVE_PACK}.get(system, 1)
    return Plan(system, work, device, at_a_time, peer_steps, every[:count], card)


def measure(plan: Plan, path: Path) -> dict[str, Any]:
    """Run a plan and keep what was seen of it in a file, also where it failed."""
    with tempfile.TemporaryDirectory(prefix="makespan-") as name:
        folder = Path(name)
        if plan.system != "d":
            plan.work.write_examples(folder)
        began = time.time()
        with path.with_suffix(".log").open("w", encoding="utf-8") as log:
            code, peak, marks = _run(plan, folder, log)
        ended = time.time()
        found = {
            "system": plan.system,
            "precision": plan.precision,
            "at_a_time": plan.at_a_time,
            "identity": plan.identity,
            "steps": plan.steps,
            "chosen": list(plan.chosen),
            "began": began,
            "ended": ended,
            "code": code,
            "peak_bytes": peak.bytes,
            "gpu_peak_bytes": peak.gpu_bytes,
            "memory": peak.kind,
            "marks": marks,
        }
    atomic_files.write_json(path, found)
    return found


def _run(plan: Plan, folder: Path, log: Any) -> tuple[int, PeakOfTree, timeline.Marks]:
    """Start a plan's processes and wait for them; returns exit code, memory and events."""
    cores = _cores()[: plan.card.cores if plan.card else None]
    processes = len(plan.chosen) if plan.system == "e" else plan.at_a_time
    job = Job(
        to_json(plan.work),
        str(folder),
        plan.device,
        plan.chosen,
        plan.steps,
        plan.at_a_time,
        max(1, len(cores) // processes),
        plan.system == "f",
        plan.card.memory_bytes if plan.card else None,
    )
    if plan.system == "e":
        return _run_together(job, log, cores)
    if plan.system == "d":
        command = command_of(write_experiment(plan.work, folder / "makespan.py"), folder / "sweep", plan.device)
        command += ["--memory", f"{plan.card.memory_gib}GiB"] if plan.card else []
    else:
        command = _python(MODULES[plan.system], write_job(job))
    with _started(command, log, cores) as process, PeakOfTree(process.pid) as peak:
        watch = Watch(plan.work, folder / "sweep" if plan.system == "d" else folder)
        is_over = False
        while not is_over:
            is_over = process.poll() is not None  # and then looked at once more
            if plan.system in OURS:
                watch.look()
            if not is_over:
                time.sleep(WATCH_S)
    if plan.system == "d":
        watch.look_at_launch()
    return process.returncode, peak, watch.marks + atomic_files.read_lines(job.marks)


def _run_together(job: Job, log: Any, cores: list[int]) -> tuple[int, PeakOfTree, timeline.Marks]:
    """Run a process per trial, all at once, their events in files of their own."""
    jobs = [replace(job, chosen=(index,), folder=f"{job.folder}/{index}") for index in job.chosen]
    commands = []
    for one in jobs:
        shutil.copytree(Path(job.folder) / "data", Path(one.folder) / "data")
        commands.append(_python("one_process", write_job(one)))
    with contextlib.ExitStack() as stack, PeakOfTree(os.getpid()) as peak:
        processes = [stack.enter_context(_started(command, log, cores)) for command in commands]
        codes = [process.wait() for process in processes]
    marks = [row for one in jobs if one.marks.exists() for row in atomic_files.read_lines(one.marks)]
    return max(codes), peak, marks


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _python(module: str, job: Path) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.peers.{module}", str(job)]


@contextlib.contextmanager
def _started(command: list[str], log: Any, cores: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process from the checkout on these cores, without the network; end it where the block is left early."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(command, stdout=log, stderr=log, cwd=HOUSE, env=environment) as process:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, cores)  # before it has threads
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def times_of(plan: Plan, found: dict[str, Any]) -> Times:
    """Return the times of a measurement, extended to the whole work where a part was measured."""
    times = _times_of(plan, found)
    if plan.system in A_BASE_EACH:
        return times
    return replace(times, loaded_s=timeline.loaded(found["marks"], found["began"]))


def _times_of(plan: Plan, found: dict[str, Any]) -> Times:
    marks, began, ended = found["marks"], found["began"], found["ended"]
    trials, steps = len(plan.work.trials), plan.work.first.max_steps
    if plan.is_whole:
        return timeline.measured_whole(marks, began, ended, trials)
    if plan.system == "c":
        return timeline.extended_in_step(marks, began, ended, trials, steps)
    return timeline.extended_in_turn(marks, began, ended, trials, steps, plan.at_a_time)


def least_peer_steps() -> int:
    """Return the fewest steps of a peer that tell a slope: two evaluations."""
    return 2 * CADENCE_STEPS
