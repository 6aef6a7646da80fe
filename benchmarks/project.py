"""(d): this project as its user runs it, and what its records tell while it runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.timeline import Marks
from benchmarks.work import Work
from search_spaces.grid_2x2x2 import experiment as grid_2x2x2
from trainables.config import TrainConfig
from trainables.record import SweepFolder, TrialRecord

AXES = tuple(grid_2x2x2.grid.axes)


def write_experiment(work: Work, path: Path) -> Path:
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
        '    name="makespan",\n'
        '    description="the grid of the benchmark",\n'
        f"    grid=grid(base, {', '.join(f'{name}={values!r}' for name, values in axes.items())}),\n"
        f"    evaluation=EvalConfig(max_new_tokens={evaluation.max_new_tokens}, "
        f"validation_examples={evaluation.validation_examples}, test_examples=0),\n"
        ")\n",
        encoding="utf-8",
    )
    return path


def command_of(experiment: Path, out: Path, device: str) -> list[str]:
    """Return what the user types."""
    options = ["--engine", "packed", "--device", device, "--out", str(out)]
    return [sys.executable, "-m", "sweep.run", str(experiment), *options]


def marks_of_records(work: Work, folder: Path, before: Marks) -> Marks:
    """Return the events in the records of a sweep: an evaluation counts once its texts are written too."""
    if not (folder / "trials").is_dir():
        return before
    known = {(one["trial"], one["step"]) for one in before}
    found = list(before)
    for record in SweepFolder(folder).records():
        trial = _trial_of(work, record)
        if trial is None:
            continue
        rows = _metrics(record)
        loss_at = {row["step"]: row["eval_loss"] for row in rows if row["kind"] == "eval"}
        for row in rows:
            if row["kind"] == "generate" and (trial, row["step"]) not in known and row["step"] in loss_at:
                event = {"time": time.time(), "event": "evaluated", "trial": trial, "step": row["step"]}
                found.append({**event, "eval_loss": loss_at[row["step"]]})
    return found


def _trial_of(work: Work, record: TrialRecord) -> int | None:
    """Return which trial of the work a record is of, None for a baseline."""
    train: TrainConfig = record.train_config()
    if train.is_baseline:
        return None
    wanted = [getattr(train, name) for name in (*AXES, "seed")]
    return next(
        index
        for index, one in enumerate(work.trials)
        if [getattr(one.train, name) for name in (*AXES, "seed")] == wanted
    )


def _metrics(record: TrialRecord) -> list[dict[str, Any]]:
    try:
        return record.metrics()
    except (OSError, ValueError):  # a line that is just being written
        return []
