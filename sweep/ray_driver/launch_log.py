"""What a launch says of itself when it ends: how long it took to get going, and how full its packs were."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from sweep.environment.lease import LeaseLost
from sweep.monitor.engine_status import Occupancy
from trainables.records import atomic_files
from trainables.records.record import SweepFolder
from trainables.units import duration


class LaunchTiming:
    """Seconds from the start of a launch to its stages: "ray" is there, engines are "open", trials are "over"."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.began_at = time.time()  # what "open" and the others are counted from, for who watches from outside
        self.seconds: dict[str, float] = {}

    def reached(self, stage: str) -> None:
        self.seconds[stage] = round(time.monotonic() - self._started, 2)


def launch_note(occupancies: list[Occupancy], seconds: dict[str, float]) -> str | None:
    """Say how many trials ran at a time; None where engines take one at a time or none has run long enough to tell."""
    told = [one for one in occupancies if one.chosen > 1 and one.mean is not None]
    if not told:
        return None
    parts = [f"{one.chosen} trials at a time, {one.mean:.1f} on average" for one in told]
    each = f"{len(told)} engines: " if len(told) > 1 else ""
    ready = f"; the model was ready after {duration(seconds['open'])}" if "open" in seconds else ""
    return f"{each}{'; '.join(dict.fromkeys(parts))}{ready}"


def keep_launch(folder: SweepFolder, facts: dict[str, Any]) -> None:
    """Append what a launch measured to the sweep's log of launches, unless nothing can be written any more."""
    with contextlib.suppress(OSError, LeaseLost):
        folder.fence()
        atomic_files.append_line(folder.launches_path, {"at": datetime.now(UTC).isoformat(timespec="seconds"), **facts})
