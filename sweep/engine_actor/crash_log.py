"""Under which trials an engine's process died: kept in a file, since the process that knew is gone (no ray, no torch).

A trial under which it died twice without coming further is suspected and runs alone from then on; one under which it
then dies again is given up. So a pack survives one bad trial, and its neighbours are not blamed for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainables.records import atomic_files
from trainables.records.atomic_files import DamagedFile

SUSPECTED, GIVEN_UP = 2, 3  # deaths without coming further


@dataclass
class CrashLog:
    """How often the engine's process died under each trial since that last got further, and at which step it was then.

    Without a path nothing is kept.
    """

    path: Path | None = None
    counts: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    def began(self, key: str) -> None:
        self.running.append(key)
        self._write()

    def ended(self, key: str) -> None:
        if key in self.running:
            self.running.remove(key)
        self.counts.pop(key, None)
        self._write()

    def came_to(self, key: str, step: int) -> bool:
        """Clear a trial that has come further than where the process died under it; True where it did so now."""
        further = key in self.counts and step > self.steps[key]
        if further:
            del self.counts[key]
            self._write()
        return further

    def is_suspect(self, key: str) -> bool:
        return self.counts.get(key, 0) >= SUSPECTED

    def _write(self) -> None:
        if self.path is not None:
            # Without it a death is not counted, which the limit of restarts bounds.
            with contextlib.suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                atomic_files.write_json(
                    self.path, {"running": self.running, "counts": self.counts, "steps": self.steps}
                )


def after_death(path: Path, step_of: Callable[[str], int]) -> tuple[CrashLog, list[str]]:
    """Count the death of the process that left the file, and return the trials that are to be given up.

    `step_of`: the furthest recorded step of a trial.
    """
    try:
        left = atomic_files.read_json(path)
    except (OSError, DamagedFile):
        return CrashLog(path), []
    found = CrashLog(path, dict(left["counts"]), dict(left["steps"]))
    for key in left["running"]:
        step = step_of(key)
        further = step > found.steps.get(key, -1)
        found.counts[key] = 1 if further else found.counts.get(key, 0) + 1
        found.steps[key] = step
    alone = left["running"] if len(left["running"]) == 1 else []
    return found, [key for key in alone if found.counts[key] >= GIVEN_UP]
