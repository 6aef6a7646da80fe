"""What the engines of a launch say of themselves, and what is said of one whose process died and was replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sweep.monitor.engine_status import EngineStatus, Occupancy, RunStatus
from trainables.startup_progress import Stage

DRAIN_S = 0.1
REPLACED = "an engine's process died {how}; a new one continues its trials from their checkpoints"


@dataclass
class EngineStatuses:
    """The last answer of each engine; `engines` loses those that are gone for good.

    `say` takes a sentence; `words_of` how the process with that number died.
    """

    engines: dict[str, Any]
    say: Callable[[str], None]
    words_of: Callable[[int], str]
    paused: str | None = None  # why the engines can go on with no trial
    is_open: bool = False  # trials may have slots: a process that is new is told again
    is_closing: bool = False
    pids: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: dict[str, Any] = field(default_factory=dict)
    _last: dict[str, EngineStatus] = field(default_factory=dict)
    _answered: dict[str, float] = field(default_factory=dict)  # when, by the monotonic clock
    _occupancies: dict[str, Occupancy] = field(default_factory=dict)

    def look(self) -> None:
        """Take the answers that have come and ask anew; never waits."""
        if not self.engines:
            return  # Ray must not be imported before what it reads then is set
        import ray

        for name, engine in list(self.engines.items()):
            try:
                ref = self._asked.get(name)
                if ref is not None and ray.wait([ref], timeout=0)[0]:
                    self._asked[name] = None
                    self.keep(name, ray.get(ref))
                    ref = None
                if ref is None:
                    self._asked[name] = engine.status.remote()
            except Exception:  # dying or restarting: it runs nothing
                self._asked.pop(name, None)
                self._last.pop(name, None)

    def drain(self) -> None:
        """Wait until nothing runs in any engine."""
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        engines = dict(self.engines)
        while engines and not self.is_closing:
            for name, engine in list(engines.items()):
                try:
                    status: EngineStatus = ray.get(engine.status.remote())
                except engine_gone():
                    del engines[name]  # died, and with it what it ran: the next round continues that
                    continue
                self.keep(name, status)
                if not status.runs:
                    del engines[name]
            time.sleep(DRAIN_S if engines else 0)

    def pause(self, why: str) -> None:
        """Note that no trial can go on."""
        self.paused = self.paused or why

    def keep(self, name: str, status: EngineStatus) -> None:
        """Take an answer of an engine."""
        # An engine that has paused stays so: an answer that was asked for earlier may come later.
        self.paused = self.paused or status.paused
        self._last[name], self._answered[name] = status, time.monotonic()
        now = status.occupancy
        if now is not None and now.seconds >= self._occupancies.get(name, now).seconds:
            self._occupancies[name] = now
        self.seen(name, status.pid)
        if self.is_open and not status.is_open:
            self.engines[name].open.remote()

    def seen(self, name: str, pid: int) -> None:
        """Take the number of an engine's process; another than before is said, once."""
        with self._lock:  # several threads look
            before, self.pids[name] = self.pids.get(name), pid
        if before is not None and before != pid and not self.is_closing:
            self.say(REPLACED.format(how=self.words_of(before)))

    @property
    def running(self) -> list[RunStatus]:
        """Return what runs in the engines."""
        there = [status for name, status in self._last.items() if name in self.engines]  # others were lost
        return [run for status in there for run in status.runs]

    @property
    def stages(self) -> list[Stage]:
        """Return what each engine is busy with beside its trials."""
        now = time.monotonic()
        told = [(status.stage, now - self._answered[name]) for name, status in self._last.items()]
        return [replace(stage, seconds=stage.seconds + since_s) for stage, since_s in told if stage is not None]

    @property
    def has_answered(self) -> bool:
        """Tell whether every engine's process is there."""
        return all(name in self._last for name in self.engines)

    @property
    def occupancies(self) -> list[Occupancy]:
        """Return how full the slots of each engine have been."""
        return list(self._occupancies.values())
