"""A user's grid over quantization or models: grouped into packs, said so first, and every trial done."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import result_of
from tiny_inputs import write_data, write_model

from trainables.records.record import SweepFolder, TrialRecord

ROOT = Path(__file__).resolve().parents[3]
OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="one", data="data", train_examples=8, max_steps=2, eval_every_steps=2)
axes = {"lora_rank": [2, 4], "quantization": ["none", "nf4"]}
experiment = Experiment("own", "", grid(base, **axes), EvalConfig(
    validation_examples=4, test_examples=6, max_new_tokens=8))
"""
PACKS = ["one fp32 512 tokens: 3 trials", "one nf4 fp32 512 tokens: 3 trials"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        write_model(tmp_path / name)
    write_data(tmp_path / "data")
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def sweep(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, env=variables, check=False)


def kind_of(record: TrialRecord) -> str:
    return record.train_config().quantization


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
def test_a_plan_says_which_trials_can_share_a_pack(place: Path) -> None:
    printed = sweep(place, "sweep.plan", "own.py", "--device", "cpu")
    assert printed.returncode == 0, printed.stderr
    assert f"2 packs: {'; '.join(PACKS)}" in one_line(printed.stdout)
    found = json.loads(sweep(place, "sweep.plan", "own.py", "lora_rank=2", "model=one,two", "--json").stdout)
    bases = [f"{model}{kind} fp32 512 tokens" for model in ("one", "two") for kind in ("", " nf4")]
    assert sorted(found["packs"]) == [f"{base}: 2 trials" for base in bases]


@pytest.mark.slow
def test_trials_of_a_grid_over_quantization_share_a_pack_only_with_their_like(place: Path) -> None:
    done = sweep(place, "sweep.run", "own.py", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert f"2 packs: {'; '.join(PACKS)}" in one_line(done.stderr), done.stderr
    records = SweepFolder(place / "runs" / "own").records()
    results = [result_of(record) for record in records]
    assert {result.state for result in results} == {"done"}
    packs: dict[str, set[str]] = {}
    for record in records:
        packs.setdefault(kind_of(record), set()).add(record.folder.name)
    for record, result in zip(records, results, strict=True):
        assert set(result.packmates) <= packs[kind_of(record)]
    in_order = sorted(records, key=lambda record: record.result_path.stat().st_mtime_ns)
    turns = [kind for kind, _ in itertools.groupby(in_order, kind_of)]
    assert sorted(turns) == ["nf4", "none"], "a base was loaded twice"
