"""Launches that tests watch and strike: what runs under a driver, how far its trials are, what is the same."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from small_sweep import output

from trainables.records.record import SweepFolder

LONG = [{"max_steps": 0}, {"max_steps": 400, "learning_rate": 5e-3}]


PATIENCE_S = 240


def ray_processes(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return list(driver.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def wait(condition: Callable[[], Any], process: subprocess.Popen[str], out: Path) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert process.poll() is None, output(out)
        assert time.monotonic() < end, output(out)
        time.sleep(0.05)
    return found


def steps_of(out: Path, number: int) -> list[int]:
    """Return the steps in the curve of a trial."""
    record = SweepFolder(out).records()[number]
    return [row["step"] for row in record.metrics() if row["kind"] == "train"]


def is_training(out: Path, number: int = 1) -> bool:
    records = SweepFolder(out).records()
    return len(records) > number and len(steps_of(out, number)) > 60


def same_result(out: Path, reference: Path) -> None:
    for mine, other in zip(SweepFolder(out).records(), SweepFolder(reference).records(), strict=True):
        result, expected = mine.result(), other.result()
        assert result is not None
        assert expected is not None
        for key in ("state", "steps", "adapter_sha256", "train_loss"):
            assert getattr(result, key) == getattr(expected, key), key
