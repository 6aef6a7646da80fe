"""Population-based training on real Ray: a poor trial goes on from a good one's weights, and a kill loses nothing."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launches import wait
from safetensors import SafetensorError
from safetensors.numpy import load_file
from small_sweep import output, result_of, start, states

from trainables.records.atomic_files import DamagedFile, read_json
from trainables.records.record import SweepFolder, TrialRecord

pytestmark = pytest.mark.slow

STEPS, EVERY, POOR = 200, 25, 1e-9
GRID = [
    {"max_steps": 0},
    *({"max_steps": STEPS, "eval_every_steps": EVERY, "learning_rate": rate} for rate in (3e-3, 2e-3, 1e-3, POOR)),
]
Weights = list[dict[str, Any]]
"""Adapter and optimizer: values by name."""


def records(out: Path) -> dict[str, TrialRecord]:
    return {record.config()["name"]: record for record in SweepFolder(out).records()}


def adopted(record: TrialRecord) -> dict[str, Any] | None:
    """Return the first change of a trial once it is in its checkpoint."""
    line = next(iter(record.lineage()), None)
    try:
        state = read_json(record.checkpoint_path(line["donor_step"]) / "state.json") if line else {}
    except (FileNotFoundError, DamagedFile):
        return None
    return line if line and state["facts"]["changes"] == 1 else None


def weights_of(record: TrialRecord, step: int) -> Weights | None:
    """Return adapter and optimizer of a checkpoint, None while it is not whole or any more."""
    folder = record.checkpoint_path(step)
    try:
        read_json(folder / "state.json")
        both = [load_file(folder / f"{name}.safetensors") for name in ("adapter", "optimizer")]
    except (FileNotFoundError, DamagedFile, SafetensorError):
        return None
    return [{key: value.tolist() for key, value in one.items()} for one in both]


def look_at(found: dict[str, TrialRecord], seen: dict[tuple[str, int], Weights]) -> None:
    """Take notice of every checkpoint that is there: a donor that is ahead removes its own."""
    for record in found.values():
        for step in range(EVERY, STEPS, EVERY):
            key = (record.folder.name, step)
            if key not in seen and (weights := weights_of(record, step)):
                seen[key] = weights


def losses(record: TrialRecord) -> dict[int, float]:
    return {row["step"]: row["eval_loss"] for row in record.metrics() if row["kind"] == "eval"}


def expected_rates(record: TrialRecord) -> list[float]:
    """Return the rate of every step after the first change, by the lineage alone."""
    lines = record.lineage()
    found = []
    for row in record.metrics():
        if row["kind"] == "train" and row["step"] > lines[0]["donor_step"]:
            # What was trained before a donor that was behind is cut, so the last change up to here holds.
            line = [one for one in lines if one["donor_step"] < row["step"]][-1]
            found.append(line["new"]["learning_rate"] * (1 - (row["step"] - 1) / STEPS))
    return found


def run_until(condition: Callable[[], Any], out: Path) -> Any:
    """Launch the sweep, or continue it, and kill it when that has come."""
    process = start(out, GRID, engine="packed", scheduler="pbt", quiet=True)
    found = wait(condition, process, out)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return found


def finished(out: Path) -> dict[str, int]:
    """Return when each finished member was finished."""
    found = {name: record.result_path for name, record in records(out).items() if name != "zero-shot"}
    return {name: path.stat().st_mtime_ns for name, path in found.items() if path.exists()}


def test_a_poor_trial_goes_on_from_a_good_one_and_keeps_its_changes_after_kills(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    seen: dict[tuple[str, int], Weights] = {}

    def first_change() -> dict[str, Any] | None:
        found = records(out)
        look_at({name: record for name, record in found.items() if name in "BCD"}, seen)
        return adopted(found["E"]) if "E" in found else None

    line = run_until(first_change, out)
    poor = records(out)["E"]
    donor = TrialRecord(poor.folder.parent / line["donor"])
    assert weights_of(poor, line["donor_step"]) == seen[donor.folder.name, line["donor_step"]]
    assert line["old"] == {"learning_rate": POOR} != line["new"]
    given_loss, own_loss = losses(donor)[line["donor_step"]], losses(poor)[EVERY]
    assert own_loss > given_loss

    before = run_until(lambda: finished(out), out)
    assert poor.lineage()[0] == line
    assert start(out, GRID, engine="packed", scheduler="pbt", quiet=True).wait(timeout=400) == 0, output(out)
    assert set(states(out).values()) == {"done"}
    assert before.items() <= finished(out).items()  # they did not run again
    assert poor.lineage()[0] == line
    assert poor.config()["train"]["learning_rate"] == POOR
    assert result_of(poor).steps == STEPS
    rows = [row for row in poor.metrics() if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    trained = [row for row in rows if row["step"] > line["donor_step"] and "of" not in row]
    if all("of" not in row for row in rows):
        assert [row["learning_rate"] for row in trained] == pytest.approx(expected_rates(poor))
    first = losses(poor)[line["donor_step"] + EVERY]
    assert abs(first - given_loss) < 0.5 * (own_loss - given_loss)
    assert all(math.isfinite(loss) for loss in losses(poor).values())
    assert not any(record.checkpoint_folder.exists() for record in records(out).values())
