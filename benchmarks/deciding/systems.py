"""The systems that make the decision, and one run of one of them in processes of its own, kept as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.bases import HOUSE
from benchmarks.cpu_time import CpuOfTree
from benchmarks.deciding.task import Task, name_of
from benchmarks.peers.job import Job, write_job
from benchmarks.project import command_of, write_experiment
from benchmarks.work import to_json
from trainables.config import digest
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

AT_A_TIME = 2  # trials of (a), a process and a core each


@dataclass(frozen=True)
class System:
    """A way of deciding: its name, a sentence, and its peer's module or the options of this project's command."""

    title: str
    sentence: str
    module: str = ""
    options: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        return not self.module


SYSTEMS = {
    "a": System(
        "Ray Tune, ASHA, Trainer + PEFT",
        f"plain Ray Tune with ASHA, a process a trial, {AT_A_TIME} at a time, Hugging Face's Trainer and PEFT; "
        "those that ASHA leaves write 64 texts by generate",
        "tune_asha",
    ),
    "b": System(
        "Optuna TPE, median pruner",
        "Optuna's TPE with its median pruner, 16 trials in one process over Trainer and PEFT",
        "optuna_median",
    ),
    "c": System("this project, full grid", "python -m sweep.run, every configuration to its end"),
    "ca": System("this project, ASHA", "python -m sweep.run --scheduler asha", options=("--scheduler", "asha")),
    "d": System(
        "this project, ASHA and settling",
        "python -m sweep.run --scheduler asha --settle",
        options=("--scheduler", "asha", "--settle"),
    ),
}


@dataclass(frozen=True)
class Cost:
    """What one decision took and what was chosen."""

    system: str
    seed: int
    wall_s: float
    cpu_s: float
    tokens: int  # of completions, trained on
    texts: int
    chosen: str
    others_load: float  # cores that were busy with anything else, on average
    cpu_of: dict[str, float] = field(default_factory=dict)  # by the names of processes
    stages: dict[str, float] = field(default_factory=dict)  # of this project: seconds from the command to each


def decide(system: str, task: Task, folder: Path) -> Cost:
    """Let a system decide and keep what that took; raises UserError where it failed."""
    path = _path(system, task, folder)
    with tempfile.TemporaryDirectory(prefix="decision-") as name:
        cost = _run(system, task, Path(name), path.with_suffix(".log"))
    atomic_files.write_json(path, {"identity": _identity(system, task), "cost": asdict(cost), "ended": time.time()})
    return cost


def kept_decision(system: str, task: Task, folder: Path) -> Cost | None:
    """Return what is kept of this very decision, None where it was not made yet."""
    kept = atomic_files.read_json_if_whole(_path(system, task, folder))
    return Cost(**kept["cost"]) if kept is not None and kept["identity"] == _identity(system, task) else None


def _path(system: str, task: Task, folder: Path) -> Path:
    return folder / f"{system}-{task.seed}.json"


def _identity(system: str, task: Task) -> str:
    return digest([json.loads(to_json(task.work)), task.order(), SYSTEMS[system].options])


def _run(system: str, task: Task, folder: Path, log: Path) -> Cost:
    command = _command(system, task, folder)
    began_at, began, load = time.time(), time.monotonic(), _Load()
    with log.open("w", encoding="utf-8") as written:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        process = subprocess.Popen(command, stdout=written, stderr=written, cwd=HOUSE, env=environment)
        with CpuOfTree(process.pid) as cpu:
            try:
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
    wall_s = time.monotonic() - began
    if code:
        raise UserError(f"({system}) failed for seed {task.seed}: exit {code}, see {log}")
    tokens, texts, chosen = _of_ours(folder) if SYSTEMS[system].is_ours else _of_peer(task, folder)
    others = load.others(cpu.seconds, wall_s)
    stages = _stages(SweepFolder(folder / "sweep"), began_at) if SYSTEMS[system].is_ours else {}
    return Cost(system, task.seed, wall_s, cpu.seconds, tokens, texts, chosen, others, cpu.by_name, stages)


def _command(system: str, task: Task, folder: Path) -> list[str]:
    found = SYSTEMS[system]
    if found.is_ours:
        experiment = write_experiment(task.work, folder / "decision.py", "decision")
        return [*command_of(experiment, folder / "sweep", "cpu"), *found.options]
    task.work.write_examples(folder, task.work.trials[0].evaluation.validation_examples)
    at_a_time = AT_A_TIME if system == "a" else 1
    job = Job(
        to_json(task.work),
        str(folder),
        "cpu",
        task.order(),
        task.work.first.max_steps,
        at_a_time,
        max(1, (os.cpu_count() or 1) // at_a_time),
        seed=task.seed,
    )
    return [sys.executable, "-m", f"benchmarks.peers.{found.module}", str(write_job(job))]


def _of_peer(task: Task, folder: Path) -> tuple[int, int, str]:
    marks = atomic_files.read_lines(folder / "marks.jsonl")
    tokens = texts = 0
    ends: dict[int, int] = {}  # of the trials that run now: what they have trained on
    for one in marks:
        if one["event"] == "entered":
            tokens += ends.pop(one["trial"], 0)
        elif one["event"] == "evaluated":
            ends[one["trial"]] = one["tokens"]
        elif one["event"] == "judged":
            texts += one["texts"]
    (chosen,) = [one["trial"] for one in marks if one["event"] == "chosen"]
    return tokens + sum(ends.values()), texts, name_of(task.work.trials[chosen].train)


def _of_ours(folder: Path) -> tuple[int, int, str]:
    """Return tokens, texts and choice of a sweep; a text that several evaluations of a trial share counts once."""
    from analysis.compare import compare

    tokens = texts = 0
    for record in SweepFolder(folder / "sweep").records():
        result = record.result()
        tokens += (result.tokens_trained or 0) if result is not None else 0
        written: set[tuple[str, str]] = set()
        for path in record.folder.glob("evals/*/predictions-*.jsonl"):
            written |= {(path.stem, row["id"]) for row in atomic_files.read_lines(path)}
        texts += len(written)
    best = compare(folder / "sweep", None, None).best_trial
    assert best is not None
    assert best.train is not None
    return tokens, texts, name_of(best.train)


def _stages(sweep: SweepFolder, began_at: float) -> dict[str, float]:
    """Return when Ray was there, when the engine had the base, and when the launch was over."""
    (launch,) = atomic_files.read_lines(sweep.launches_path)
    return {name: launch["began_at"] - began_at + seconds for name, seconds in launch["seconds"].items()}


class _Load:
    """How many others wanted the processors: all processor time of the machine less one's own, a second."""

    def __init__(self) -> None:
        self.began_s = self._busy_s()

    def others(self, own_s: float, wall_s: float) -> float:
        return max(0.0, self._busy_s() - self.began_s - own_s) / wall_s

    @staticmethod
    def _busy_s() -> float:
        import psutil

        times = psutil.cpu_times()
        return float(times.user + times.system)
