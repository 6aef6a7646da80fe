"""What the process of a peer is given, and how it tells what happened when: a line per event, at once on the disk."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.work import Work
from trainables.jobs import EngineSetup
from trainables.records.record import SweepFolder
from trainables.tokenization.tokenized_corpus import TokenizedExamples


@dataclass(frozen=True)
class Job:
    """One measurement: the trials `chosen` of the work up to `steps`, in `folder`, which holds the examples."""

    work: str  # as JSON
    folder: str
    device: str
    chosen: tuple[int, ...]
    steps: int
    at_a_time: int = 1
    threads: int = 1  # of each process
    compiled: bool = False
    memory_bytes: int | None = None  # of a GPU, that each process may use
    seed: int = 0  # of a search

    @property
    def marks(self) -> Path:
        return Path(self.folder) / "marks.jsonl"

    def read_work(self) -> Work:
        return work.from_json(self.work)


def write_job(job: Job, name: str = "job.json") -> Path:
    """Write what a process is to do; returns the file to give it."""
    path = Path(job.folder) / name
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")
    return path


def job_of_command(arguments: Sequence[str] | None = None) -> Job:
    """Return the job that this process was started for."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return Job(**{**content, "chosen": tuple(content["chosen"])})


def mark(job: Job, event: str, trial: int | None = None, **facts: Any) -> None:
    """Say that something has happened now."""
    line = json.dumps({"time": time.time(), "event": event, "trial": trial, **facts})
    with job.marks.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def tokenized_of(job: Job) -> TokenizedExamples:
    """Return the token rows of the work, the same as the engine's."""
    found = job.read_work()
    folder = str(found.base.model_folder)
    setup = EngineSetup(job.folder, {found.first.model: folder}, job.device)
    return TokenizedExamples(SweepFolder(Path(job.folder)), dict(setup.model_folders))
