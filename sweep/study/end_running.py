"""Ends what a study file calls running: for a process whose driver has died, so without Optuna (standard library)."""

from __future__ import annotations

import contextlib
import sqlite3
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
