"""SIGINT, SIGTERM and SIGHUP in the driver: the first asks for an orderly end, a second one leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from sweep.environment import exit_process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEADLINE_S = 9.0
LAST_S = 0.5


class CaughtSignals:
    """Within this context signals are caught: `number` is the first one's, or None.

    A signal sets `arrived`. A second one, or 9 s after the first, `kill` is called, then `last` by a thread that is
    given half a second, and the process left with 128 + the signal's number: an orderly end that hangs must not keep
    the devices.
    """

    def __init__(
        self, arrived: threading.Event, kill: Callable[[], None], last: Callable[[], None] = lambda: None
    ) -> None:
        self.number: int | None = None
        self._arrived = arrived
        self._kill = kill
        self._last = last
        self._former: dict[int, Any] = {}
        self._deadline: threading.Timer | None = None

    def __enter__(self) -> CaughtSignals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # Whoever started this under nohup wants a hang-up ignored.
                if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._handle)
        return self

    def take_back(self) -> None:
        """Handle the signals again: Ray's core puts handlers of its own in their place when it starts."""
        for number in self._former:
            signal.signal(number, self._handle)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            exit_process.at_once(128 + (self.number or signal.SIGTERM))
        for number, former in self._former.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            self._leave()
        self.number = number
        self._arrived.set()
        self._deadline = threading.Timer(DEADLINE_S, self._leave)
        self._deadline.daemon = True
        self._deadline.start()

    def _leave(self) -> None:
        try:
            self._kill()
            # What is written to may be locked by the thread that this interrupts, or take nothing any more.
            telling = threading.Thread(target=self._last, daemon=True)
            telling.start()
            telling.join(LAST_S)
        finally:
            os._exit(128 + (self.number or signal.SIGTERM))
