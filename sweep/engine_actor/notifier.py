"""Wakes coroutines of an actor when its threads have news for them (no ray, no torch)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Notifier:
    """Something has changed: any thread may say so, and coroutines wait for it."""

    def __init__(self) -> None:
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def tell(self) -> None:
        """Wake all who wait."""
        with self._lock:
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def expected(self) -> Iterator[asyncio.Event]:
        """Give an event that what is told from now on sets; look inside the block for what was told before."""
        waiting = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting.add(waiting)
        try:
            yield waiting[1]
        finally:
            with self._lock:
                self._waiting.discard(waiting)
