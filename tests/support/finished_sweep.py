"""A sweep that was finished here: every record as an engine writes it, without the minutes of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from ended_trials import end_trials
from experiment_place import make_place

from sweep.request.commit import commit
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.records.record import SweepFolder

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=10))
"""


def make_finished_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the current one, with a model, data and the experiment own.py, without a hub; and finish that."""
    make_place(folder, monkeypatch, OWN)
    write_finished(folder)
    return folder


def write_finished(place: Path, out: str = "runs/own") -> Path:
    """Finish the experiment own.py in `place`, the current folder, and return the sweep's folder."""
    wanted = request("own.py", Changes())
    folder = SweepFolder(place / out)
    planned = commit(
        prepare(wanted, RunOptions(out=folder.folder, command="python -m sweep.run own.py")), folder
    ).planned
    end_trials(folder, planned)
    return folder.folder
