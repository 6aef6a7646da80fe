"""What a refused command takes back: its own files alone, and nothing once a trial has begun."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_lines import cli
from safetensors.numpy import load_file, save_file
from tiny_inputs import write_data, write_model

from sweep.environment import lease
from sweep.request import rollback
from sweep.request.commit import commit
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="{place}/model", data="{place}/data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=10))
"""


def write_place(place: Path) -> None:
    """Write a model, data and an experiment of a user's into a folder."""
    write_model(place / "model")
    write_data(place / "data")
    (place / "own.py").write_text(OWN.format(place=place), encoding="utf-8")


def refuse(place: Path, out: Path, begun: bool = False) -> None:
    """Write a new sweep into `out` under a lease and take it back."""
    write_place(place)
    prepared = prepare(request(str(place / "own.py"), Changes()), RunOptions(out=out))
    before = rollback.there(out)
    held = lease.acquire(out)
    planned = commit(prepared, SweepFolder(out, held.fence)).planned
    if begun:
        (out / "trials" / planned[0].folder_name / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    rollback.take_back(out, before, prepared.examples, held)
    held.release()


def test_the_whole_of_a_new_sweep_is_taken_back(tmp_path: Path) -> None:
    refuse(tmp_path, tmp_path / "runs" / "own")
    assert not (tmp_path / "runs").exists()


def test_what_was_there_before_and_what_others_wrote_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lease.acquire(out).release()  # by a driver that was killed before it wrote the sweep
    (out / "data").mkdir()
    (out / "data" / "old.jsonl").write_text("old", encoding="utf-8")
    there = {path.name for path in out.rglob("*")}
    refuse(tmp_path, out)
    assert {path.name for path in out.rglob("*")} == there


def test_a_sweep_whose_trial_has_begun_stays_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refuse(tmp_path, out, begun=True)
    assert (out / "sweep.json").exists()
    assert len(list((out / "trials").iterdir())) == 3
    lease.acquire(out).release()  # and it is free


def test_a_sweep_that_another_run_has_taken_over_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    held = lease.acquire(out)
    before = frozenset({tmp_path})
    SweepFolder(out).write_manifest(SweepManifest())
    held.release()
    other = lease.acquire(out)
    rollback.take_back(out, before, (), held)
    assert (out / "sweep.json").exists()
    other.fence()
    other.release()


@pytest.mark.slow
def test_a_cluster_that_cannot_be_joined_is_one_sentence_and_leaves_nothing_of_a_new_sweep(tmp_path: Path) -> None:
    write_place(tmp_path)
    for _ in range(2):
        done = cli(tmp_path, "run", "own.py", "--address", "127.0.0.1:1")
        assert done.returncode == 2
        assert "no Ray cluster can be joined at --address '127.0.0.1:1': nothing answers there" in done.stderr
        assert "Failed to connect" not in done.stderr  # as Ray says it, in lines of its log
        assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_turns_out_not_to_fit_when_the_engine_measures_is_refused_and_taken_back(tmp_path: Path) -> None:
    write_place(tmp_path)
    # More than what is known to be needed before, and less than a process that has loaded the libraries.
    refused = cli(tmp_path, "run", "own.py", "--device", "cpu", "--memory", "320MiB")
    assert refused.returncode == 2, refused.stderr
    assert "320 MiB may be used" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_model_that_is_mended_after_a_refusal_runs_by_the_same_command(tmp_path: Path) -> None:
    write_place(tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    tensors = load_file(weights)
    save_file({name: np.full_like(tensor, np.nan) for name, tensor in tensors.items()}, weights, {"format": "pt"})
    command = ["run", "own.py", "max_steps=1", "lora_rank=2", "--eval-examples", "2,3", "--max-new-tokens", "8"]
    refused = cli(tmp_path, *command)
    assert refused.returncode == 2, refused.stderr
    assert not (tmp_path / "runs").exists()
    weights.write_bytes(whole)
    done = cli(tmp_path, *command)
    assert done.returncode == 0, done.stderr
