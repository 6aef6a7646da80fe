"""The light Tune function: it takes a slot of an engine and hands the engine's reports to Tune (no torch).

It holds no model and computes nothing. Where the engine's process dies it waits for the new one, which continues the
trial from its last checkpoint or gives it up.
"""

from __future__ import annotations

import time
from typing import Any

from sweep.environment.lease import this_process
from sweep.environment.ray_variables import strip_worker
from sweep.monitor.engine_status import Event, TrialEnd
from trainables.jobs import TrialReport

NAMESPACE = "sweep"
TAKE_S = 0.1
ENGINE_GONE_S = 120.0


def follow(config: dict[str, Any]) -> None:
    """Run the trial `config["trial"]` in a slot of one of `config["engines"]`, reporting to Tune."""
    from ray import tune

    strip_worker()
    follower = TrialFollower(config["trial"], config["engines"])
    while True:
        engine = follower.take()
        if engine is None:
            return
        try:
            for row in follower.reports(engine):
                tune.report(row)
            if follower.ended:
                return
        except engine_gone():
            continue


class TrialFollower:
    """One trial's way through the engines; `step` is the furthest step that Tune was told."""

    def __init__(self, key: str, engines: list[str]) -> None:
        self.key = key
        self.engines = engines
        self.me = this_process()
        self.ended = False
        self.home: str | None = None  # the engine that has begun this trial
        self.gone: set[str] = set()
        self.step = -1

    def take(self) -> Any | None:
        """Return the engine in which this trial runs now, None where the sweep is closing or engines are gone."""
        answered = time.monotonic()
        self.gone.clear()
        while time.monotonic() - answered < ENGINE_GONE_S and len(self.gone) < len(self.engines):
            # Where the trial runs already no second run may begin: all are asked for that one first.
            for name, if_it_runs in ((name, first) for first in (True, False) for name in self.engines):
                if (if_it_runs and len(self.engines) == 1) or self.home not in (None, name):
                    continue
                engine, answer = self._ask(name, if_it_runs)
                if answer is None:
                    continue
                answered = time.monotonic()
                if answer == "taken":
                    self.home = name
                    return engine
                if answer == "closed":
                    return None
            time.sleep(TAKE_S)
        return None

    def _ask(self, name: str, if_it_runs: bool) -> tuple[Any, str | None]:
        """Return an engine and what it says, None between a death and the restart."""
        import ray

        try:
            engine = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:  # gone for good: its trials are for the others
            self.home = None if self.home == name else self.home
            self.gone.add(name)
            return None, None
        try:
            return engine, ray.get(engine.take.remote(self.key, self.me, if_it_runs))
        except engine_gone():
            return engine, None

    def reports(self, engine: Any) -> Any:
        """Yield the metrics of each report that Tune does not know yet, until the trial ends or is interrupted."""
        import ray
        from ray.exceptions import RayActorError

        cursor = 0
        while True:
            event: Event = ray.get(engine.next.remote(self.key, cursor))
            if isinstance(event, TrialReport):
                cursor += 1
                row = metrics_of(event)
                # A continued trial replays its recorded reports.
                if row is not None and row["step"] > self.step:
                    self.step = row["step"]
                    yield {"trial": self.key, **row}
            elif isinstance(event, TrialEnd):
                self.ended = event.state != "interrupted"
                if self.ended and self.step < 0:
                    yield {"trial": self.key, "step": 0}
                return
            elif event == "unknown":
                raise RayActorError  # a new process, which does not know this trial


def engine_gone() -> tuple[type[Exception], ...]:
    """Return what Ray raises for an engine whose process died, or whose node is lost."""
    from ray import exceptions

    return (exceptions.RayActorError, exceptions.ActorUnschedulableError)


def metrics_of(report: TrialReport) -> dict[str, Any] | None:
    """Return what of a report is for the scheduler, None where it has no loss."""
    if report.eval_loss is None:
        return None
    told = {"step": report.step, "eval_loss": report.eval_loss, "train_loss": report.train_loss}
    return {name: value for name, value in told.items() if value is not None}
