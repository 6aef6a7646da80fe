"""What Ray and the light trials cost beside the engine's own work, and how full the pack is meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_sweep import HERE, ROOT, output, start, states

from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder

TRIALS = [{"max_steps": 32, "eval_every_steps": 8, "learning_rate": 1e-3 * number} for number in range(1, 9)]
MORE = [{"max_steps": 8, "learning_rate": 1e-3 * number} for number in range(1, 21)]
OVERHEAD_S = 12.0
PATIENCE_S = 180.0
BUSY = 0.5  # cores from which on times say nothing


def wait_for_quiet() -> None:
    """Let what the tests before have left end; skips where the machine is busy with something else."""
    until = time.monotonic() + PATIENCE_S
    # The load average of a minute would remember these tests for one.
    while (cores := psutil.cpu_percent(interval=5) / 100 * (psutil.cpu_count() or 1)) > BUSY:
        if time.monotonic() > until:
            pytest.skip(f"times say nothing where {cores:.1f} cores are busy")


def in_process_s(folder: Path) -> float:
    path = os.pathsep.join([str(ROOT), str(HERE)])
    run = subprocess.run(
        [sys.executable, str(HERE / "in_process.py"), str(folder), json.dumps(TRIALS), "1"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    return float(run.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_light_trials_add_few_seconds_to_the_engines_own_work(tmp_path: Path) -> None:
    wait_for_quiet()
    alone = in_process_s(tmp_path / "alone")
    out = tmp_path / "sweep"
    assert start(out, TRIALS).wait(timeout=300) == 0, output(out)
    launch = read_lines(SweepFolder(out).launches_path)[-1]
    (width,) = launch["widths"]
    assert width["chosen"] == 8
    assert width["mean"] >= 0.9 * 8
    assert launch["seconds"]["over"] - alone < OVERHEAD_S, (launch, alone)
    print(f"{launch['seconds']['over'] - alone:.1f} s beside {alone:.1f} s of the engine's own work")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scheduler", ["none", "asha", "median"])
def test_the_pack_is_full_while_enough_trials_are_left(tmp_path: Path, scheduler: str) -> None:
    out = tmp_path / "sweep"
    assert start(out, MORE, scheduler=scheduler).wait(timeout=400) == 0, output(out)
    assert set(states(out).values()) <= ({"done"} if scheduler == "none" else {"done", "stopped"})
    (width,) = read_lines(SweepFolder(out).launches_path)[-1]["widths"]
    assert width["chosen"] == 8
    assert width["mean"] >= 0.9 * 8
