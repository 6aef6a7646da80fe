"""How many share a device, on the command line: --pack-width, --memory, and what plan, doctor and sweep.json say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from experiment_place import make_place

from sweep import cli
from sweep.request.pack_memory import narrowed_sentence
from trainables.bases import refusals
from trainables.hardware import machine
from trainables.packed import pack_size
from trainables.packed.pack_size import Measurement, MeasurementKey, WidthCost
from trainables.records.record import SweepFolder

ROOT = Path(__file__).resolve().parents[3]
OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8, max_steps=2, eval_every_steps=1)
evaluation = EvalConfig(validation_examples=4, test_examples=4, max_new_tokens=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), evaluation)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and an experiment, without a hub, and a cache of its own."""
    monkeypatch.delenv("PACKSWEEP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_place(tmp_path, monkeypatch, OWN)


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["plan", "own.py", "--device", "cpu", *arguments])
    out, error = capsys.readouterr()
    return code, out, error


def pretend_measured(capsys: pytest.CaptureFixture[str]) -> MeasurementKey:
    """Keep a measurement for what the plan asks for."""
    from sweep.request import pack_memory

    asked: list[MeasurementKey] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack_memory.pack_size, "recall", lambda where: asked.append(where))
        plan(capsys)
    train, decode = (
        (WidthCost(1, 1.0, 10 * 2**20),),
        tuple(WidthCost(rows, seconds, rows * 2**16) for rows, seconds in ((16, 1.0), (32, 0.5), (64, 0.49))),
    )
    pack_size.remember(asked[0], Measurement(train, decode, 500 * 2**20, "2026-11-20", 2.0))
    return asked[0]


def test_a_plan_says_whether_the_width_was_measured_and_what_it_is(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = plan(capsys)
    assert code == 0
    assert "pack width: 3 trials; trains 1 at a time, decodes 128 rows; not yet measured" in out
    where = pretend_measured(capsys)
    assert where.device == machine.processor()
    _, out, _ = plan(capsys)
    assert "pack width: 3 trials; trains 1 at a time, decodes 32 rows; measured 2026-11-20, needs about 510 MiB" in out
    _, out, _ = plan(capsys, "--pack-width", "2", "--memory", "700MiB", "--json")
    (entry,) = json.loads(out)["pack_width"]
    assert (entry["slots"], entry["rows"], entry["memory_bytes"]) == (2, 32, 700 * 2**20)


def test_what_does_not_fit_is_refused_before_anything_is_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("plan", "run"):
        code = cli.main([verb, "own.py", "--device", "cpu", "--memory", "100MiB"])
        assert code == 2
        assert "not even one trial fits" in capsys.readouterr().err
    pretend_measured(capsys)
    code, _, error = plan(capsys, "--memory", "505MiB")
    assert code == 2
    assert "needs about 510 MiB" in error
    assert "505 MiB may be used" in error
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--memory", "lots"], "--memory must be a size above zero like 5.6GiB, 800MiB or 12GB, got 'lots'"),
        (["--memory", "12"], "got '12'"),
        (["--pack-width", "0"], "'--pack-width': Input should be greater than or equal to 1"),
        (["--pack-width", "wide"], "'--pack-width': Input should be a valid integer"),
    ],
)
def test_a_bad_value_is_one_sentence_with_the_rule(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    for verb in (["run", "own.py"], ["plan", "own.py"]):
        assert cli.main([*verb, *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "Traceback" not in error


def test_the_doctor_lists_what_was_measured_on_this_machine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretend_measured(capsys)
    cli.main(["doctor", "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["widths"]
    assert found["file"] == str(place / "cache" / "packsweep" / "widths.json")
    (entry,) = found["measured"]
    assert (entry["device"], entry["together"], entry["best_rows"]) == (machine.processor(), 1, 32)
    cli.main(["doctor"])
    assert "trains 1 at a time, decodes 32 rows" in " ".join(capsys.readouterr().out.split())


def test_the_doctor_says_which_faster_ways_a_base_does_not_take_and_why(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusals.remember("mine", "fp32", "cpu", {"last_mlp": "its numbers differ"})
    cli.main(["doctor"])
    assert "mine fp32 on cpu: last mlp (its numbers differ)" in " ".join(capsys.readouterr().out.split())


def test_what_memory_narrowed_is_said_in_one_sentence() -> None:
    assert narrowed_sentence([{"narrowed_to": None}]) is None
    rows = [{"narrowed_to": {"rows": 8}}, {"narrowed_to": {"rows": 4, "slots": 2}}, {"narrowed_to": None}]
    sentence = narrowed_sentence(rows)
    assert sentence is not None
    assert "4 rows that decode together, 2 trials in the pack" in sentence


@pytest.mark.slow
def test_a_run_measures_once_and_keeps_in_its_folder_how_wide_it_ran(place: Path) -> None:
    def run(out: str) -> str:
        command = [sys.executable, "-m", "sweep.run", "own.py", "--device", "cpu", "--pack-width", "2", "--out", out]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stderr

    assert "pack width: 2 trials; trains 1 at a time, decodes 128 rows; not yet measured" in run("first")
    (used,) = SweepFolder(place / "first").manifest().pack_width
    assert used["slots"] == 2
    assert used["measured"]
    assert used["narrowed_to"] is None
    assert f"measured {used['measured']}" in run("second")
    assert SweepFolder(place / "second").manifest().pack_width == (used,)
