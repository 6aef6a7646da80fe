"""Ray's own processes, without which nothing goes on and nobody says so: found once, then looked at (no ray)."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

NAMES = ("gcs_server", "raylet")


class CoreProcesses:
    """The processes of Ray's core below this one."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def look(self, offspring: list[Any]) -> None:
        """Find among the processes below this one those that are not known yet."""
        import psutil

        for process in offspring:
            with contextlib.suppress(psutil.Error):
                name = process.name()
                if name in NAMES and name not in self._found:
                    self._found[name] = process

    @property
    def is_whole(self) -> bool:
        """Tell whether all were found."""
        return len(self._found) == len(NAMES)

    def loss(self) -> str | None:
        """Say which of them is gone, None while all are there."""
        for name, process in self._found.items():
            if not _runs(process):
                return f"Ray's own process {name} {_end_of(process)}, and with it its engines"
        return None


def left_behind(folder: Path) -> list[Any]:
    """Return the processes that were started with a launch's folder in their environment, whoever their parent is."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != psutil.Process().pid and str(folder) in " ".join(process.environ().values()):
                found.append(process)
    return found


def _runs(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_of(process: Any) -> str:
    """Say how a process ended, as far as its parent, which this one is, can tell."""
    import psutil

    with contextlib.suppress(psutil.Error, ValueError):
        code = process.wait(timeout=0)
        if code is not None and code < 0:
            return f"was killed ({signal.Signals(-code).name})"
    return "has ended"
