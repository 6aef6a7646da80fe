"""Which trials of a search run where: a place that its trial leaves is given to the next point at once (no ray).

What is left of earlier runs comes first, then what the study chooses. A trial holds its place until its record is
finished, whatever Tune knows of it by then: one that a scheduler has stopped is still being evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from sweep.ray_driver.launch_trials import LaunchTrials
from trainables.records.finished import is_finished

GIVEN_UP_S = 5.0  # after which a trial that nobody follows and no engine runs is left to the next round


@dataclass
class SearchPlaces:
    """The places of each engine and who has them; all methods are called from one thread.

    `engines` loses those that are gone for good: what they had comes again elsewhere.
    `is_guest`: a trial that takes nobody's place. `begin` tells an engine of a trial, `running` returns what engines
    say that they run. `may_go_on`: false where the launch is ending. `pause` takes why it has to end.
    """

    trials: LaunchTrials
    places: Mapping[str, int]
    engines: Container[str]
    waiting: list[str]  # left of earlier runs, in this order
    is_guest: Callable[[str], bool]
    begin: Callable[[str, str], None]
    running: Callable[[], set[str]]
    may_go_on: Callable[[], bool]
    pause: Callable[[str], None]
    engine_of: dict[str, str] = field(default_factory=dict)  # of the trials that have places
    begun: list[str] = field(default_factory=list)  # not followed yet
    _unfollowed_since: dict[str, float] = field(default_factory=dict)

    def fill(self) -> None:
        """Free the places of trials that have ended, and begin others there."""
        self._free()
        while self.may_go_on() and self._there:
            engine = self._free_engine()
            key = next((key for key in self.waiting if engine is not None or self.is_guest(key)), None)
            if key is not None:
                self.waiting.remove(key)
            elif engine is not None and not self.waiting and self.trials.to_come:
                key = self._ask()
            if key is None:
                return
            home = engine or min(self._there, key=self._load)
            self.engine_of[key] = home
            self.begun.append(key)
            self.begin(home, key)

    def _ask(self) -> str | None:
        try:
            return self.trials.ask()
        except OSError as error:
            self.pause(f"no further point of the search can be written: {error}")
            return None

    @property
    def is_over(self) -> bool:
        """Tell whether nothing is left to begin or to follow."""
        if not self.may_go_on():
            return True
        return not (self.waiting or self.begun or self.trials.to_come)

    def left(self, key: str) -> None:
        """Note that nobody follows a trial any more."""
        if key in self.engine_of:
            self._unfollowed_since.setdefault(key, time.monotonic())

    def ended(self) -> None:
        """Tell the study of all trials that have ended by now."""
        self._free()

    def _free(self) -> None:
        now, running = time.monotonic(), None
        for key in list(self.engine_of):
            if is_finished(self.trials.jobs[key]):
                if self.trials.study is not None:
                    self.trials.study.ended(key)
            elif self.engine_of[key] not in self.engines:
                self.waiting.append(key)
            elif now - self._unfollowed_since.get(key, now) < GIVEN_UP_S:
                continue
            else:
                running = self.running() if running is None else running
                if key in running:
                    continue
            del self.engine_of[key]
            self._unfollowed_since.pop(key, None)

    @property
    def _there(self) -> list[str]:
        return [name for name in self.places if name in self.engines]

    def _free_engine(self) -> str | None:
        free = [name for name in self._there if self._load(name) < self.places[name]]
        return min(free, key=lambda name: self._load(name) / self.places[name]) if free else None

    def _load(self, engine: str) -> int:
        return sum(name == engine and not self.is_guest(key) for key, name in self.engine_of.items())
