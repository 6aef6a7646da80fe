"""A race on real engines: it ends, and one that is killed between two looks ends in the same table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from trainables.config import EvalConfig, eval_id
from trainables.records.record import SweepFolder

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [
    *(sys.executable, "-m", "sweep.run", "grid_2x2x2", "--source", "bundled", "--device", "cpu"),
    *("prompt=v1,v2", "lora_rank=4", "learning_rate=1e-2,2e-3", "max_steps=4", "train_examples=16"),
    *("--eval-examples", "96,8", "--max-new-tokens", "12", "--settle", "3", "--seeds", "auto:2"),
]
PATIENCE_S = 300


def start(out: Path) -> subprocess.Popen[bytes]:
    with out.with_suffix(".log").open("ab") as log:
        command = [*COMMAND, "--out", str(out)]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def finish(out: Path) -> str:
    """Run the command to its end and return its table."""
    assert start(out).wait(timeout=PATIENCE_S) == 0, out.with_suffix(".log").read_text()[-3000:]
    return (out / "report" / "comparison-without-timing.csv").read_text()


def looks(out: Path) -> int:
    """Return how many looks a sweep has had."""
    try:
        race = json.loads((out / "sweep.json").read_text())["settle"]["race"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return len(race["looks"]) if race else 0


@pytest.mark.slow
def test_a_race_ends_and_one_that_is_killed_in_mid_race_ends_in_the_same_table(tmp_path: Path) -> None:
    table = finish(tmp_path / "whole")
    folder = SweepFolder(tmp_path / "whole")
    settle = folder.manifest().settle
    assert settle is not None
    assert settle["is_over"]
    race = settle["race"]
    assert race["verdict"] in ("separated", "equivalent", "used up")
    assert f",{race['best']}," in next(line for line in table.splitlines() if line.startswith("best,"))
    first = eval_id(EvalConfig.model_validate(settle["first"]))
    raced = [one for one in folder.records() if one.config()["train"]["seed"] == 42]
    assert not any(one.needs_evaluation(first) for one in raced)
    assert len(raced) < len(folder.records())  # those left were run with another seed

    out = tmp_path / "killed"
    process = start(out)
    try:
        wait_until(lambda: looks(out) or process.poll() is not None, PATIENCE_S)
        assert process.poll() is None, out.with_suffix(".log").read_text()[-3000:]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not SweepFolder(out).manifest().settle["is_over"]  # type: ignore[index]
    assert finish(out) == table
