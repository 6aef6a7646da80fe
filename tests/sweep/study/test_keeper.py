"""The process that leaves no point of a search running once its driver has been killed."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.environment.lease import acquire
from sweep.study.keeper import ended_with_driver

ROOT = Path(__file__).resolve().parents[3]
DRIVER = """
import sys, time
from pathlib import Path
from sweep.environment.lease import acquire
from sweep.study.keeper import ended_with_driver
folder = Path(sys.argv[1])
with ended_with_driver(folder / "optuna.db", acquire(folder)):
    print("here", flush=True)
    time.sleep(60)
"""


def states(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT state FROM trials")]


def with_a_running_trial(folder: Path) -> Path:
    path = folder / "optuna.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE trials (state TEXT)")
        connection.execute("INSERT INTO trials VALUES ('RUNNING'), ('COMPLETE')")
    return path


@pytest.mark.parametrize(
    ("is_taken_over", "left"), [(False, "WAITING"), pytest.param(True, "RUNNING", marks=pytest.mark.slow)]
)
def test_a_killed_driver_leaves_nothing_running_but_to_another(tmp_path: Path, is_taken_over: bool, left: str) -> None:
    path = with_a_running_trial(tmp_path)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert driver.stdout is not None
    with driver.stdout:
        assert driver.stdout.readline() == b"here\n"
    assert states(path) == ["RUNNING", "COMPLETE"]
    if is_taken_over:
        (tmp_path / "lease.json").unlink()
        acquire(tmp_path).release()
    driver.kill()
    driver.wait()
    until = time.monotonic() + (1.0 if is_taken_over else 20.0)
    while time.monotonic() < until and (is_taken_over or states(path)[0] != left):
        time.sleep(0.05)
    assert states(path) == [left, "COMPLETE"]


def test_it_is_gone_when_its_driver_goes_on(tmp_path: Path) -> None:
    path, lease = with_a_running_trial(tmp_path), acquire(tmp_path)
    with ended_with_driver(path, lease):
        pass
    assert states(path) == ["RUNNING", "COMPLETE"]  # the driver itself has closed its study
    lease.release()
