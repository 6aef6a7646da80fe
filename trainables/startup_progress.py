"""What a process is busy with before its trials can go on, and how far it is, for whoever waits (no torch).

Told by the work itself, which may lie deep below whoever is asked; read from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class Stage:
    """One piece of work: `done` of `of` parts, None where they cannot be counted."""

    name: str
    of: int | None
    began: float
    done: int = 0


_stages: list[Stage] = []
_lock = threading.Lock()


@contextmanager
def stage(name: str, of: int | None = None) -> Iterator[Callable[[], None]]:
    """Say that this process is busy with `name` within the block; the value is to be called after each part."""
    mine = Stage(name, of, time.monotonic())

    def advance() -> None:
        mine.done += 1

    with _lock:
        _stages.append(mine)
    try:
        yield advance
    finally:
        with _lock:
            _stages.remove(mine)


def current() -> dict[str, Any] | None:
    """Return {"name", "done", "of", "seconds"} of what was begun last and has not ended, None where nothing has."""
    with _lock:
        if not _stages:
            return None
        last = _stages[-1]
        return {"name": last.name, "done": last.done, "of": last.of, "seconds": time.monotonic() - last.began}


def sentence(stage: dict[str, Any]) -> str:
    """Say what is being done, how much of it is done, and since when."""
    counted = f", {stage['done']} of {stage['of']}" if stage["of"] is not None else ""
    return f"{stage['name']}{counted} ({stage['seconds']:.0f} s)"
