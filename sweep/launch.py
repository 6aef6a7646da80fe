"""One launch: Ray, engines, light trials, progress and signals around the records of a sweep.

The main thread keeps the display and the signals; a second one starts Ray and runs Tune; a third one proves that the
engine works and then lets the trials have slots, so that trials start while the base is loading.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sweep.launches import keep, note_of
from sweep.lease import Lease
from sweep.options import LaunchOptions as LaunchOptions
from sweep.progress import Display
from sweep.session import Session
from sweep.signals import Caught
from sweep.tensorboard import Curves
from trainables.errors import UserError
from trainables.jobs import EngineSetup, TrialJob
from trainables.record import SweepFolder

Status = Literal["finished", "interrupted", "budget", "paused"]
REFRESH_S = 1.0
STARTING_S = 0.05  # the same while Ray starts and takes signals to itself
INTERRUPT_S = 6.0


@dataclass(frozen=True)
class Outcome:
    """How a launch ended; `paused` when nothing more could be written; `unfinished` names trials without a result."""

    status: Status
    signal: int | None = None
    unfinished: tuple[str, ...] = ()
    facts: dict[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number where one ended the launch, 1 where it paused, else 0.

        Failed trials are for the caller to count.
        """
        return 128 + self.signal if self.signal is not None else int(self.status == "paused")


def launch(
    folder: SweepFolder, lease: Lease, jobs: list[TrialJob], setup: EngineSetup, options: LaunchOptions
) -> Outcome:
    """Train and evaluate `jobs`, in this order, until they are finished, a signal comes or the time is up.

    Failed trials raise nothing. Raises UserError where the launch is refused before a trial starts, or where another
    driver has taken the sweep over. After a signal the lease is released and the command that continues is printed.
    """
    started = time.monotonic()
    wake = threading.Event()
    lease.on_lost = wake.set
    session = Session(folder, lease, jobs, setup, options, wake)
    curves = Curves(folder, [Path(job.folder) for job in jobs])
    with (
        Caught(wake, session.cluster.kill) as caught,
        Display(folder, jobs, session.headline, options.quiet) as display,
    ):
        session.start()
        curves.start()
        try:
            while session.is_running and caught.number is None and not lease.is_lost and not session.paused:
                if time.monotonic() - started > (options.time_budget_s or math.inf):
                    break
                wake.wait(REFRESH_S if session.has_engines else STARTING_S)
                caught.take_back()
                while session.news:
                    display.say(session.news.pop(0))
                if session.has_engines:
                    display.update(session.running(), session.engine_count)
            ended_early = session.is_running
            if ended_early and not lease.is_lost:
                session.interrupt(INTERRUPT_S)
        finally:
            session.cluster.stop(patience_s=2.0 if session.is_running else 5.0)
        curves.close()
        display.close()
        if note := note_of(session.widths, session.timing.seconds):
            display.say(note)
        if "open" in session.timing.seconds:
            facts = {"engine": options.engine, "trials": len(jobs), "widths": session.widths}
            keep(folder, {**facts, "began_at": session.timing.began_at, "seconds": session.timing.seconds})
        if caught.number is not None:
            lease.release()
    if lease.is_lost:
        raise UserError(f"another run has taken {folder.folder} over; nothing more was written here")
    if caught.number is None and session.error is not None:
        raise session.error
    unfinished = tuple(session.unfinished())
    status, reason = _end(caught, ended_early, session.paused, len(unfinished))
    if status != "finished":
        display.say_how_to_continue(reason, options.command)
    return Outcome(status, caught.number, unfinished, session.facts)


def _end(caught: Caught, ended_early: bool, paused: str | None, unfinished: int) -> tuple[Status, str]:
    """Return how a launch ended, and why."""
    if caught.number is not None:
        return "interrupted", f"interrupted by {signal.Signals(caught.number).name}"
    if paused:
        return "paused", f"paused, {paused}"
    if ended_early:
        return "budget", "time budget reached"
    if unfinished:
        return "paused", f"{unfinished} trials could not be finished (their error.txt may say why)"
    return "finished", ""
