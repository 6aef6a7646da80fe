"""What a process is busy with before its trials can go on, and how far it is, for whoever waits (no torch).

Told by the work itself, which may lie deep below whoever is asked; read from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainables.units import duration


@dataclass(frozen=True)
class Stage:
    """One piece of work as it is now: `done` of `of` parts, None where they cannot be counted, for so many seconds."""

    name: str
    done: int
    of: int | None
    seconds: float


@dataclass(eq=False)
class _Begun:
    name: str
    of: int | None
    began: float
    done: int = 0


_begun: list[_Begun] = []
_lock = threading.Lock()


@contextmanager
def stage(name: str, of: int | None = None) -> Iterator[Callable[[], None]]:
    """Say that this process is busy with `name` within the block; the value is to be called after each part."""
    mine = _Begun(name, of, time.monotonic())

    def advance() -> None:
        mine.done += 1

    with _lock:
        _begun.append(mine)
    try:
        yield advance
    finally:
        with _lock:
            _begun.remove(mine)


def current() -> Stage | None:
    """Return what was begun last and has not ended, None where nothing has."""
    with _lock:
        if not _begun:
            return None
        last = _begun[-1]
        return Stage(last.name, last.done, last.of, time.monotonic() - last.began)


def sentence(stage: Stage) -> str:
    """Say what is being done, how much of it is done, and since when."""
    counted = f", {stage.done} of {stage.of}" if stage.of is not None else ""
    return f"{stage.name}{counted} ({duration(stage.seconds)})"
