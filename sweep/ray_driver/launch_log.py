"""What a launch says of itself when it ends: how long it took to get going, and how full its packs were."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from sweep.environment.lease import LeaseLost
from trainables.records import atomic_files
from trainables.records.record import SweepFolder


class Timing:
    """Seconds from the start of a launch to its stages: "ray" is there, engines are "open", trials are "over"."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.began_at = time.time()  # what "open" and the others are counted from, for who watches from outside
        self.seconds: dict[str, float] = {}

    def reached(self, stage: str) -> None:
        self.seconds[stage] = round(time.monotonic() - self._started, 2)


def note_of(widths: list[dict[str, Any]], seconds: dict[str, float]) -> str | None:
    """Say how many trials ran at a time; None where engines take one at a time or none has run long enough to tell."""
    told = [width for width in widths if width["chosen"] > 1 and width["mean"] is not None]
    if not told:
        return None
    parts = [f"{width['chosen']} trials at a time, {width['mean']:.1f} on average" for width in told]
    each = f"{len(told)} engines: " if len(told) > 1 else ""
    ready = f"; the model was ready after {seconds['open']:.0f} s" if "open" in seconds else ""
    return f"{each}{'; '.join(dict.fromkeys(parts))}{ready}"


def keep(folder: SweepFolder, facts: dict[str, Any]) -> None:
    """Append what a launch measured to the sweep's log of launches, unless nothing can be written any more."""
    with contextlib.suppress(OSError, LeaseLost):
        folder.fence()
        atomic_files.append_line(folder.launches_path, {"at": datetime.now(UTC).isoformat(timespec="seconds"), **facts})
