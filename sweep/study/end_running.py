"""Ends what a study file calls running: for a process whose driver has died, so without Optuna (standard library).

As a program it waits until its driver is gone: an engine may be gone as soon as that, since Ray ends its own processes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from pathlib import Path

LOCKED_S = 2.0  # that another process may keep the file


def end_running(path: Path) -> int:
    """Turn the running trials of a study file into waiting ones; return how many, none where it cannot be written.

    A file that is absent, locked or no database is left alone: the next run makes it anew.
    """
    try:
        with contextlib.closing(connect(path, LOCKED_S)) as connection, connection:
            return connection.execute("UPDATE trials SET state = 'WAITING' WHERE state = 'RUNNING'").rowcount
    except (sqlite3.Error, OSError):
        return 0


def connect(path: Path, locked_s: float) -> sqlite3.Connection:
    """Open a study file that is there; raises sqlite3.Error where there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=locked_s)


def wait_and_end(path: Path, lease: Path, owner: str) -> None:
    """Wait for the end of standard input, which the driver holds open, and leave what is running to the next run.

    Where the lease has gone to another driver by then, or was given back, the study is as it should be.
    """
    sys.stdin.buffer.read()
    with contextlib.suppress(OSError, ValueError):
        held = json.loads(lease.read_text(encoding="utf-8"))
        if held["owner"] == owner and not held["released"]:
            end_running(path)


if __name__ == "__main__":
    wait_and_end(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
