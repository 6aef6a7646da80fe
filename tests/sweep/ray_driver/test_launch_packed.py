"""Launches of the packed engine on real Ray: trials share it, one is stopped early, a kill loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from launches import wait
from small_sweep import output, result_of, start, states

from trainables.records.record import SweepFolder

pytestmark = pytest.mark.slow

GRID = [{"max_steps": 0}, *({"max_steps": 24, "learning_rate": rate} for rate in (5e-3, 2e-3, 1e-3, 1e-6))]
GOOD = [{"max_steps": 24, "learning_rate": rate} for rate in (5e-3, 4e-3, 3e-3)]


def steps(out: Path) -> list[int]:
    return [sum(row["kind"] == "train" for row in record.metrics()) for record in SweepFolder(out).records()]


@pytest.mark.parametrize("scheduler", ["none", "asha"])
def test_trials_share_an_engine(tmp_path: Path, scheduler: str) -> None:
    out = tmp_path / "sweep"
    assert start(out, GRID, engine="packed", scheduler=scheduler, quiet=True).wait(timeout=300) == 0, output(out)
    allowed = {"done"} if scheduler == "none" else {"done", "stopped"}
    assert set(states(out).values()) <= allowed
    results = [result_of(record) for record in SweepFolder(out).records()]
    assert {result.engine for result in results} == {"packed"}
    assert max(len(result.packmates) for result in results) >= 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three good trials that were finished."""
    out = tmp_path_factory.mktemp("good") / "sweep"
    assert start(out, GOOD, engine="packed", quiet=True).wait(timeout=300) == 0, output(out)
    return out


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_trials_worse_than_finished_ones_are_stopped_at_the_first_rung_and_their_slots_taken(
    tmp_path: Path, finished: Path, scheduler: str
) -> None:
    out = tmp_path / "sweep"
    shutil.copytree(finished, out)
    whole = [*GOOD, *({"max_steps": 24, "learning_rate": rate} for rate in (1e-7, 2e-7, 3e-7, 4e-3))]
    whole[-1]["seed"] = 7
    options = {"engine": "packed", "scheduler": scheduler, "max_concurrent": 2, "quiet": True}
    assert start(out, whole, **options).wait(timeout=300) == 0, output(out)
    results = [result_of(record) for record in SweepFolder(out).records()]
    assert [(result.state, result.steps) for result in results[3:6]] == [("stopped", 4)] * 3
    assert steps(out)[:6] == [24] * 3 + [4] * 3
    # The last one came when the others had been stopped, and trains as well as those that were finished.
    assert (results[6].state, results[6].steps) == ("done", 24)
    assert len(results[6].packmates) >= 1


def test_a_killed_pack_is_continued(tmp_path: Path) -> None:
    out, long = tmp_path / "sweep", [{**fields, "max_steps": fields["max_steps"] * 8} for fields in GRID]
    process = start(out, long, engine="packed", quiet=True)
    wait(lambda: (found := steps(out)[1:]) and min(found) >= 12, process, out)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start(out, long, engine="packed", quiet=True).wait(timeout=400) == 0, output(out)
    assert set(states(out).values()) == {"done"}
    assert steps(out) == [0, *[192] * 4]
    assert max(result_of(record).restarts for record in SweepFolder(out).records()) == 1
