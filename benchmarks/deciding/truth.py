"""How good each configuration truly is: its ROUGE-L on dialogues that no system is shown, kept once it is known."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bases import HOUSE
from benchmarks.deciding.task import HELD_OUT, Task, name_of, write_data
from benchmarks.project import command_of, write_experiment
from trainables.config import digest
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

METRIC = "rougeL"


def truth_of(task: Task, folder: Path, held_out: int = HELD_OUT) -> dict[str, float]:
    """Return the points of every configuration by name; trains and writes them where that is not yet known.

    A run that was ended continues: the records of its sweep are kept in `folder`.
    """
    path = folder / f"truth-{identity_of(task, held_out)}.json"
    kept = atomic_files.read_json_if_whole(path)
    if kept is not None:
        return dict(kept["points"])
    sweep = folder / path.stem
    sweep.mkdir(parents=True, exist_ok=True)
    data = write_data(folder / f"data-held-out-{held_out}", None, held_out)
    trials = [
        one.model_copy(
            update={
                "train": one.train.model_copy(update={"data": str(data)}),
                "evaluation": one.evaluation.model_copy(update={"validation_examples": 0, "test_examples": held_out}),
            }
        )
        for one in sorted(task.work.trials, key=lambda one: name_of(one.train))
    ]
    experiment = write_experiment(replace(task.work, trials=tuple(trials)), sweep / "truth.py", "truth")
    with (sweep / "log.txt").open("a", encoding="utf-8") as log:
        command = command_of(experiment, sweep / "sweep", "cpu")
        done = subprocess.run(command, stdout=log, stderr=log, cwd=HOUSE, check=False)
    if done.returncode:
        raise UserError(f"the truth could not be found: exit {done.returncode}, see {sweep / 'log.txt'}")
    points = points_of(SweepFolder(sweep / "sweep"), "test")
    atomic_files.write_json(path, {"held_out": held_out, "points": points})
    return points


def identity_of(task: Task, held_out: int) -> str:
    """Tell the truth of these configurations apart from others, whatever their order and the place of the data."""
    trials: dict[str, Any] = {
        name_of(one.train): one.train.model_dump(mode="json", exclude={"model", "data"}) for one in task.work.trials
    }
    return digest([trials, held_out])


def points_of(sweep: SweepFolder, split: str) -> dict[str, float]:
    """Return the ROUGE-L points of a sweep's configurations by name."""
    found = {}
    for record in sweep.records():
        train, result = record.train_config(), record.result()
        if train.is_baseline or result is None or result.first_eval_id is None:
            continue
        summary = record.summary(result.first_eval_id)
        if summary is not None:
            found[name_of(train)] = 100 * float(summary.splits[split][METRIC])
    return found


def regret_of(points: Mapping[str, float], chosen: str) -> float:
    """Return by how many points a choice falls short of the best."""
    return max(points.values()) - points[chosen]
