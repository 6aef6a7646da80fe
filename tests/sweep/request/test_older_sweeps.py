"""A sweep of before prompts were tokenized as one text: said once, trained anew, never compared with what is new."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from experiment_place import make_place

from analysis.records.load import load
from search_spaces.experiment import load_experiment
from sweep.request.commit import commit
from sweep.request.existing_sweep import about_older, sweep_to_extend
from sweep.request.overrides import Changes, request
from sweep.request.prepare import PreparedSweep, prepare
from sweep.request.run_options import RunOptions
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=9))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and an experiment, without a hub."""
    return make_place(tmp_path, monkeypatch, OWN)


def prepared(name: str = "own.py") -> PreparedSweep:
    wanted, how = request(name, Changes()), RunOptions(out=Path("run").absolute())
    return prepare(wanted, how, sweep_to_extend(wanted, how))


def make_older(folder: SweepFolder) -> list[str]:
    """Give every trial the record and the identity that it had before; returns these identities."""
    found = []
    for record in folder.records():
        content = {**atomic_files.read_json(record.config_path)}
        train = {key: value for key, value in content["train"].items() if key != "tokenization"}
        before = TrialConfig(train=TrainConfig(**{**train, "target_modules": tuple(train["target_modules"])}),
                             evaluation=EvalConfig())  # fmt: skip
        atomic_files.write_json(record.config_path, {**content, "train": train, "train_id": before.train_id})
        label = record.folder.name.rsplit("-", 1)[0]
        os.replace(record.folder, record.folder.with_name(f"{label}-{before.train_id}"))
        found.append(before.train_id)
    sweep = atomic_files.read_json(folder.sweep_path)
    atomic_files.write_json(folder.sweep_path, {key: value for key, value in sweep.items() if key != "tokenization"})
    return found


def test_an_old_sweep_says_once_that_its_trials_are_trained_anew_and_mixes_none() -> None:
    first = prepared()
    planned = commit(first, first.folder).planned
    old = make_older(first.folder)
    table = load(first.folder.folder)
    assert (len(table.rows), table.older) == (len(old), len(old))  # alone they are shown as they were
    again = prepared()
    assert [
        line for line in again.notes if line.startswith(f"{len(old)} trials of this sweep are of before 2026-11-30")
    ]
    written = commit(again, again.folder)
    anew, left = written.planned, written.left
    assert {one.trial.train_id for one in anew}.isdisjoint(old)
    assert [one.trial.train_id for one in anew] == [one.trial.train_id for one in planned]
    assert len(left) == len(planned)
    table = load(first.folder.folder)
    assert {row.values["train_id"] for row in table.rows if row.train} == {one.trial.train_id for one in anew}
    assert table.older == len(old)
    assert about_older(again.folder, again.folder.manifest(), anew) == []  # it has been said


def test_bundled_texts_keep_the_identity_that_they_had_and_others_get_a_new_one() -> None:
    experiment = replace(load_experiment("grid_2x2x2"), bundled=True)
    trains = [*experiment.configurations(), *replace(experiment, bundled=False).configurations()]
    trials = [TrialConfig(train=train, evaluation=EvalConfig()) for train in trains]
    parts = [
        TrialConfig(train=train.model_copy(update={"tokenization": "parts"}), evaluation=EvalConfig())
        for train in trains
    ]
    same = [one.train_id == before.train_id for one, before in zip(trials, parts, strict=True)]
    half = len(trains) // 2
    assert same == [True] * half + [False] * half
