"""(d): this project as its user runs it, and what its records tell while it runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.timeline import Marks
from benchmarks.work import Work
from search_spaces.grid_2x2x2 import experiment as grid_2x2x2
from trainables.records import atomic_files
from trainables.records.record import SweepFolder, TrialRecord

AXES = tuple(grid_2x2x2.grid.axes)


def write_experiment(work: Work, path: Path, name: str = "makespan") -> Path:
    """Write the work as a user's experiment file."""
    axes = {name: list(dict.fromkeys(getattr(one.train, name) for one in work.trials)) for name in AXES}
    fields = work.first.model_dump(exclude={"prompt_template"})
    evaluation = work.trials[0].evaluation
    path.write_text(
        "from search_spaces.experiment import Experiment\n"
        "from search_spaces.grid import grid\n"
        "from trainables.config import EvalConfig, TrainConfig\n\n"
        f"base = TrainConfig(**{fields!r})\n"
        "experiment = Experiment(\n"
        f"    name={name!r},\n"
        '    description="the grid of the benchmark",\n'
        f"    grid=grid(base, {', '.join(f'{name}={values!r}' for name, values in axes.items())}),\n"
        f"    evaluation=EvalConfig(max_new_tokens={evaluation.max_new_tokens}, "
        f"validation_examples={evaluation.validation_examples}, "
        f"test_examples={evaluation.test_examples}),\n"
        ")\n",
        encoding="utf-8",
    )
    return path


def command_of(experiment: Path, out: Path, device: str) -> list[str]:
    """Return what the user types."""
    options = ["--engine", "packed", "--device", device, "--out", str(out)]
    return [sys.executable, "-m", "sweep.run", str(experiment), *options]


class Watch:
    """What the records of a sweep tell while it runs; an evaluation counts once its texts are written too.

    A look at records that have not grown costs next to nothing: the machine is the sweep's.
    """

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self.folder = folder
        self.marks: Marks = []
        self._known: dict[Path, int | None] = {}  # trial of a record's folder, None of a baseline
        self._sizes: dict[Path, int] = {}

    def look(self) -> Marks:
        """Return all events until now."""
        for folder in sorted((self.folder / "trials").glob("[0-9]*")):
            path = TrialRecord(folder).metrics_path
            size = path.stat().st_size if path.exists() else 0
            if size != self._sizes.get(path, 0):
                self._sizes[path] = size
                self._read(TrialRecord(folder))
        return self.marks

    def look_at_launch(self) -> None:
        """Note when the base was loaded, which a launch tells when it has ended."""
        for line in atomic_files.read_lines(SweepFolder(self.folder).launches_path):
            self.marks.append({"time": line["began_at"] + line["seconds"]["open"], "event": "started", "trial": None})

    def _read(self, record: TrialRecord) -> None:
        if record.folder not in self._known:
            self._known[record.folder] = _trial_of(self.work, record)
        trial = self._known[record.folder]
        if trial is None:
            return
        rows = record.metrics()
        loss_at = {row["step"]: row["eval_loss"] for row in rows if row["kind"] == "eval"}
        known = {one["step"] for one in self.marks if one["trial"] == trial}
        for row in rows:
            step = row["step"]
            if row["kind"] == "generate" and step not in known and step in loss_at:
                event = {"time": time.time(), "event": "evaluated", "trial": trial, "step": step}
                self.marks.append({**event, "eval_loss": loss_at[step]})


def _trial_of(work: Work, record: TrialRecord) -> int | None:
    """Return which trial of the work a record is of, None for a baseline."""
    train = record.train_config()
    if train.is_baseline:
        return None
    names = (*AXES, "seed")
    wanted = [getattr(train, name) for name in names]
    return next(
        index for index, one in enumerate(work.trials) if [getattr(one.train, name) for name in names] == wanted
    )
