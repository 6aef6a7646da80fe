"""How many trials shared an engine on average while there were enough of them (no ray, no torch)."""

from __future__ import annotations

import time

from sweep.monitor.engine_status import Occupancy


class OccupancyMeter:
    """Averages slots in use over the time in which no fewer trials are left than there are slots.

    Towards the end of a plan slots empty whatever one does; that time is left out.
    """

    def __init__(self, slots: int, trials: int) -> None:
        self.chosen = min(slots, trials)
        self._left = trials
        self._in_use = 0
        self._since: float | None = None  # the first trial
        self._used_s = self._seconds = 0.0

    def now(self, in_use: int) -> None:
        """Note the slots that are in use from now on."""
        now = time.monotonic()
        if self._since is not None and self._left >= self.chosen:
            self._used_s += self._in_use * (now - self._since)
            self._seconds += now - self._since
        if in_use or self._since is not None:
            self._in_use, self._since = in_use, now

    def ended(self, in_use: int) -> None:
        """Note that a trial has ended, and the slots that are in use from now on."""
        self.now(in_use)
        self._left -= 1

    def more(self, trials: int) -> None:
        """Note that more trials are to come than was said."""
        self._left += trials

    def occupancy(self) -> Occupancy:
        mean = round(self._used_s / self._seconds, 2) if self._seconds else None
        return Occupancy(self.chosen, mean, round(self._seconds, 2))
