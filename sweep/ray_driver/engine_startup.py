"""The engines of a launch load their bases and prove their stages; one whose process dies of it is tried once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweep.monitor.engine_status import Prepared, Unprepared
from sweep.ray_driver.worker_logs import in_short
from trainables.config import TrialConfig

TRIES = 2
RESTART_S = 120.0  # for the process that replaces one that died to answer
LOOK_S = 0.2


class DiedTwice(RuntimeError):
    """An engine's process died at each try; `lines` are the last that it wrote, or what Ray says of it."""

    def __init__(self, cause: str, lines: str) -> None:
        super().__init__(cause)
        self.lines = lines


@dataclass
class EngineStartup:
    """What each engine is to prepare; `seen` is told the number of each process that does."""

    engines: Mapping[str, Any]
    trials: Mapping[str, list[TrialConfig]]
    preflight: bool
    seen: Callable[[str, int], None]

    def answers(self, lines_of: Callable[[int], list[str]]) -> list[Prepared | Unprepared]:
        """Return what each engine says; raises DiedTwice."""
        asked = {name: self._ask(name) for name in self.engines}
        return [self._answer(name, refs, lines_of) for name, refs in asked.items()]

    def _ask(self, name: str) -> tuple[Any, Any]:
        # The number first: nobody else may have asked for it by the time that the process dies of the rest.
        # Each proves on its own device what is to run there, so that it loads no base but its own.
        engine = self.engines[name]
        return engine.pid.remote(), engine.prepare.remote(self.trials[name], self.preflight)

    def _answer(self, name: str, refs: tuple[Any, Any], lines_of: Callable[[int], list[str]]) -> Prepared | Unprepared:
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        for left in reversed(range(TRIES)):
            pid: int | None = None
            try:
                pid = ray.get(refs[0])
                self.seen(name, pid)
                answer: Prepared | Unprepared = ray.get(refs[1])
                return answer
            except engine_gone() as error:
                lines = lines_of(pid) if pid is not None else []
                if not left or not self._is_back(name):
                    cause = f"its process died {TRIES} times while it was loading the model, the last time "
                    raise DiedTwice(cause + in_short(lines), "\n".join(lines) or str(error)) from None
                refs = self._ask(name)
        raise AssertionError("a try returns or raises")

    def _is_back(self, name: str) -> bool:
        """Wait for the process that replaces one that died; False where none comes."""
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        until = time.monotonic() + RESTART_S
        while time.monotonic() < until:
            try:
                ray.get(self.engines[name].pid.remote(), timeout=until - time.monotonic())
                return True
            except engine_gone():
                time.sleep(LOOK_S)
            except ray.exceptions.GetTimeoutError:
                break
        return False
