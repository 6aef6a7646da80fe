"""A verb that works for long in one piece says every few seconds what at, on stderr (no torch, no ray)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sweep.cli_support.command import note
from trainables.startup_progress import current, sentence

LOOK_S = 0.5
SILENT_S = 4.0  # no longer is nothing said


@contextmanager
def telling(silent_s: float = SILENT_S, look_s: float = LOOK_S) -> Iterator[None]:
    """Say, within the block, which stage this process is in, whenever it has been in one for so long."""
    ended = threading.Event()

    def tell() -> None:
        said = time.monotonic()
        while not ended.wait(look_s):
            now, told = time.monotonic(), current()
            if told is None or told.seconds < now - said:
                said = max(said, now - (told.seconds if told else 0.0))  # a stage is told once it takes long
            if told is not None and now - said >= silent_s:
                said = now
                note(sentence(told), style="dim")

    thread = threading.Thread(target=tell, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
