"""One launch: Ray, engines, light trials, progress and signals around the records of a sweep.

The main thread keeps the display and the signals; a second one starts Ray and runs Tune; a third one proves that the
engine works and then lets the trials have slots, so that trials start while the base is loading.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sweep.environment import exit_process
from sweep.environment.lease import Lease
from sweep.environment.signals import CaughtSignals
from sweep.monitor.progress import ProgressDisplay
from sweep.monitor.tensorboard import TensorBoardWriter
from sweep.ray_driver.launch_log import keep_launch, launch_note
from sweep.ray_driver.launch_options import LaunchOptions as LaunchOptions
from sweep.ray_driver.launch_trials import LaunchTrials
from sweep.ray_driver.session import Session
from sweep.settle.settle_plan import SettlePlan
from sweep.study.study import SearchStudy
from trainables.errors import UserError
from trainables.jobs import EngineSetup, TrialJob
from trainables.records.record import SweepFolder

Status = Literal["finished", "interrupted", "budget", "paused"]
REFRESH_S = 1.0
STARTING_S = 0.05  # the same while Ray starts and takes signals to itself
INTERRUPT_S, REFUSED_S = 6.0, 2.0
INTERRUPTED_S, ENDED_S = 0.5, 5.0  # for the threads in Ray to end, after a signal and else


@dataclass(frozen=True)
class LaunchOutcome:
    """How a launch ended; `paused` when nothing more could be written; `unfinished` names trials without a result."""

    status: Status
    signal: int | None = None
    unfinished: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """128 + the signal's number where one ended the launch, 1 where it paused, else 0.

        Failed trials are for the caller to count.
        """
        return 128 + self.signal if self.signal is not None else int(self.status == "paused")


def launch(
    folder: SweepFolder,
    lease: Lease,
    jobs: list[TrialJob],
    setup: EngineSetup,
    options: LaunchOptions,
    study: SearchStudy | None = None,
    race: SettlePlan | None = None,
) -> LaunchOutcome:
    """Train and evaluate `jobs`, in this order, until they are finished, a signal comes or the time is up.

    Then, and in places of the pack that are free, come the points that `study` chooses, until it has no further one.
    When all are evaluated, `race` asks for more examples of some, look by look. Failed trials raise nothing. Raises
    UserError where the launch is refused before a trial starts, or where another driver has taken the sweep over. After
    a signal the lease is released and the command that continues is printed.
    """
    wake = threading.Event()
    lease.on_lost = wake.set
    trials = LaunchTrials(jobs, study)
    session = Session(folder, lease, trials, setup, options, wake, race)
    curves = TensorBoardWriter(folder, lambda: [Path(job.folder) for job in trials.jobs.values()])
    display = ProgressDisplay(folder, trials.jobs.values(), session.headline, options.quiet)
    display.know(trials.jobs.values(), trials.to_come)
    caught = CaughtSignals(wake, session.cluster.kill, lambda: _say_interrupted(display, caught, options.command))
    loss, in_ray = None, False
    with caught, display:
        session.start()
        curves.start()
        try:
            loss = _watch(session, display, caught, options.time_budget_s, wake)
            ended_early = session.is_running
            if not lease.is_lost and loss is None:
                session.interrupt(INTERRUPT_S if session.error is None else REFUSED_S)
            if caught.number is not None:  # said before anything that may fail, or take too long
                display.close()
                _say_interrupted(display, caught, options.command)
            in_ray = session.is_in_ray(0.0 if loss else INTERRUPTED_S if caught.number is not None else ENDED_S)
        finally:
            trials.close(is_in_use=in_ray or session.is_running)
            session.cluster.stop(ENDED_S, in_use=in_ray)
            if in_ray:
                exit_process.at_once(1)
        curves.close()
        display.close()
        note = launch_note(session.statuses.occupancies, session.timing.seconds)
        if note and caught.number is None:  # after a signal the line that continues is the last one
            display.say(note)
        if "open" in session.timing.seconds:
            widths = [asdict(one) for one in session.statuses.occupancies]
            facts = {"engine": options.engine, "trials": len(trials.jobs), "widths": widths}
            keep_launch(folder, {**facts, "began_at": session.timing.began_at, "seconds": session.timing.seconds})
        if caught.number is not None:
            lease.release()
    if lease.is_lost:
        raise UserError(f"another run has taken {folder.folder} over; nothing more was written here")
    if caught.number is None and loss is None and session.error is not None:
        raise session.error
    unfinished = tuple(trials.unfinished())
    left = len(unfinished) + trials.to_come
    # What ended as the time did is complete; whether a race has ended the next run tells.
    ended_early = ended_early and (left > 0 or race is not None)
    status, reason = _end(caught, ended_early, loss or session.statuses.paused, left)
    if status not in ("finished", "interrupted"):
        display.say_how_to_continue(reason, options.command)
    outcome = LaunchOutcome(status, caught.number, unfinished)
    exit_process.with_code(outcome.exit_code)
    return outcome


def _watch(
    session: Session, display: ProgressDisplay, caught: CaughtSignals, budget_s: float | None, wake: threading.Event
) -> str | None:
    """Keep the display until nothing is left to wait for; return what is gone of Ray, None where all of it is there."""
    started, lease = time.monotonic(), session.lease
    while session.is_running and caught.number is None and not lease.is_lost and not session.statuses.paused:
        if time.monotonic() - started > (budget_s or math.inf):
            break
        wake.wait(REFRESH_S if session.has_engines else STARTING_S)
        caught.take_back()
        session.statuses.look()
        while session.news:
            display.say(session.news.pop(0))
        display.know(session.trials.jobs.values(), session.trials.to_come)
        display.update(session.statuses.running, session.engine_count, session.stage())
        if caught.number is None and (loss := session.loss()):
            return loss
    return None


def _say_interrupted(display: ProgressDisplay, caught: CaughtSignals, command: str | None) -> None:
    name = signal.Signals(caught.number or signal.SIGTERM).name
    display.say_how_to_continue(f"interrupted by {name}", command)


def _end(caught: CaughtSignals, ended_early: bool, paused: str | None, unfinished: int) -> tuple[Status, str]:
    """Return how a launch ended, and why where that has not been said."""
    if caught.number is not None:
        return "interrupted", ""
    if paused:
        return "paused", f"paused, {paused}"
    if ended_early:
        return "budget", "time budget reached"
    if unfinished:
        return "paused", f"{unfinished} trials could not be finished (their error.txt may say why)"
    return "finished", ""
