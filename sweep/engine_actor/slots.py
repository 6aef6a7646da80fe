"""The slots of one engine: who runs, what was reported and consumed, who is to stop (plain threads, no ray, no torch).

An engine has a fixed number of slots. Where a scheduler judges, a trial takes one and follows the reports of its run,
which ends at its last step or at the report after which the scheduler stops it; a run whose trial has gone silent or
whose trial's process died is told to write a checkpoint and leave, so that no slot is lost; the engine may begin the
next runs while their trials are on their way. Where nobody judges, the engine runs its share of the plan ahead of the
trials, which follow, or replay what was reported when they come: then the pack is full however few trials are alive.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from sweep.engine_actor.crash_log import CrashLog
from sweep.engine_actor.pack_occupancy import OccupancyMeter
from sweep.environment.lease import LeaseLost, Process
from sweep.monitor.engine_status import Event, TrialEnd
from trainables.config import TrialConfig
from trainables.jobs import Control, DeviceLost, Interrupted, OnReport, TrialJob, TrialReport
from trainables.records.finished import is_finished
from trainables.records.record import Fence, TrialRecord, no_fence
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import TrialState

if TYPE_CHECKING:  # the driver needs none of what it imports
    from trainables.trial.preflight_report import PreflightReport

SILENT_S = 60.0
DEAD_S = 15.0
ORDER_PATIENCE_S = 10.0
RunVerdict = Literal["go", "stop", "interrupt"]
INTERRUPTED = TrialEnd("interrupted")


class HostedEngine(Protocol):
    """What trains and evaluates trials; `run` is called from as many threads as there are slots."""

    name: str

    def warm(self, trial: TrialConfig) -> None: ...

    def preflight(self, trials: list[TrialConfig]) -> PreflightReport: ...

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult: ...


@dataclass
class SlotRun:
    """One trial in a slot; `reports[:consumed]` are known to the scheduler, which let the trial go on."""

    key: str
    job: TrialJob
    caller: Process | None
    last_call: float
    begun: bool = False
    own: bool = False  # the engine's to finish: it needs no trial that follows it
    reports: list[TrialReport] = field(default_factory=list)
    consumed: int = 0
    verdict: RunVerdict = "go"
    end: TrialEnd | None = None


@dataclass
class Slots:
    """The runs of one engine, all methods safe from any thread.

    `lockstep`: a training trial waits after each report until its scheduler has decided, so that the step at which it
    is stopped does not depend on timing. `ordered`: slots are given in the order of `jobs`. `ahead`: the trials that
    this engine begins by itself, in this order, and no others; without any it begins what trials ask for, or with
    `early` what they will ask for next: such a run waits at its first report until its trial has come.
    """

    engine: HostedEngine
    jobs: dict[str, TrialJob]
    fence: Fence = no_fence
    lockstep: bool = False
    ordered: bool = False
    ahead: Sequence[str] = ()
    early: bool = False
    mine: Sequence[str] = ()  # trials that begin here before those of other engines do
    at_most: int | None = None  # runs at a time
    deaths: CrashLog = field(default_factory=CrashLog)
    silent_s: float = SILENT_S
    dead_s: float = DEAD_S
    on_news: Callable[[], None] = lambda: None  # a trial that asks for the next report gets another answer now
    on_lease_lost: Callable[[], None] | None = None
    on_device_lost: Callable[[], None] | None = None
    job_of: Callable[[str], TrialJob] | None = None  # of a trial that a search has added
    to_come: int = 0  # such trials

    def __post_init__(self) -> None:
        own: int | None = getattr(self.engine, "slots", None)  # of an engine whose trials share a base
        self.count = min(own or 1, self.at_most or own or 1)
        # A baseline has no weights of its own: beside trials that have, it takes nobody's place.
        self._guests = {
            name for name, job in self.jobs.items() if own and not self.at_most and job.trial.train.is_baseline
        }
        self.runs: dict[str, SlotRun] = {}
        self._again: set[str] = set()  # of `run_again`
        self.is_open = False
        self.closed = False
        self.paused: str | None = None
        # Those that were finished before do not come, also where this process replaces one that died.
        self._order = [
            name for name, job in self.jobs.items() if not TrialRecord(Path(job.folder)).result_path.exists()
        ]
        self._idle_since = time.monotonic()
        # What this engine is to begin by itself.
        self._left = [name for name in self.ahead if not is_finished(self.jobs[name])]
        if self.early and not self.ahead:
            self._left = list(self._order)
        known = set(self._left if self.ahead else self._order) - self._guests
        self.width = OccupancyMeter(self.count, len(known) + self.to_come)
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(self.count + len(self._guests), thread_name_prefix="slot")

    # --- what a trial calls --------------------------------------------------------------------------------------

    def take(
        self, key: str, caller: Process | None = None, if_it_runs: bool = False
    ) -> Literal["taken", "wait", "closed"]:
        """Give the trial `key` a free slot, or have it follow its run where there is one already.

        The run begins with the first call of `next`: should it kill this process, the trial knows that it was its run.
        `if_it_runs`: nothing else, since another engine may have its run.
        """
        with self._changed:
            run = self.runs.get(key)
            if run is not None and (run.end is None or run.end != INTERRUPTED) and run.verdict == "go":
                run.caller, run.last_call = caller, time.monotonic()
                return "taken"
            if self.closed:
                return "closed"
            if if_it_runs:
                return "wait"
            if self.ahead:
                return self._follow_later(key)
            if (
                self._keeps_slots_from(key)
                or not self.is_open
                or not self._has_room_for(key)
                or not self._is_turn_of(key)
            ):
                return "wait"
            if run is not None and run.end is None:
                return "wait"  # told to leave and not gone yet
            self._take_slot(key, caller)
            return "taken"

    def _follow_later(self, key: str) -> Literal["taken", "wait"]:
        """Answer for a trial whose run has not begun here: it may come, be another engine's, or have ended long ago."""
        if key not in self.ahead or key in self._left:
            return "wait"
        # It ended in a process before this one: its trial replays what was recorded.
        job, now = self.jobs[key], time.monotonic()
        record = TrialRecord(Path(job.folder))
        rows = [row for row in record.metrics() if row["kind"] == "eval"]
        reports = [TrialReport(row["step"], row["eval_loss"], recorded=True) for row in rows]
        result = record.result()
        end = TrialEnd(result.state if result else TrialState.FAILED)
        self.runs[key] = SlotRun(key, job, None, now, begun=True, reports=reports, end=end)
        return "taken"

    def _take_slot(self, key: str, caller: Process | None, begun: bool = False) -> SlotRun:
        now = time.monotonic()
        if key in self._left:
            self._left.remove(key)
        if key not in self.jobs and self.job_of is not None:
            self.jobs[key] = self.job_of(key)
        own = begun and (bool(self.ahead) or not self.lockstep or key in self._again)
        run = SlotRun(key, self.jobs[key], caller, now, begun=begun, own=own)
        self.runs[key] = run
        self.width.now(self._in_slots())
        return run

    def _has_room_for(self, key: str) -> bool:
        """Tell whether a run may begin beside those that run; one under which the process died twice runs alone."""
        active = self.active()
        if not active:
            return True
        if key not in self._guests and self._in_slots() >= self.count:
            return False
        return not any(self.deaths.is_suspect(name) for name in (key, *(run.key for run in active)))

    def _run_ahead(self) -> None:
        """Begin those of the trials left to this engine that fit, whether or not somebody follows them yet."""
        while self.is_open and not self.closed:
            # Suspects first: they need the engine to themselves, which is idle now or never.
            waiting = sorted(self._left, key=lambda name: not self.deaths.is_suspect(name))
            key = next((name for name in waiting if self._has_room_for(name)), None)
            if key is None:
                return
            self._start(self._take_slot(key, None, begun=True))

    def _start(self, run: SlotRun) -> None:
        run.begun = True
        self.deaths.began(run.key)
        self._threads.submit(self._work, run)

    def _keeps_slots_from(self, key: str) -> bool:
        """Tell whether a trial of another engine's has to wait until all of this one's have begun."""
        return key not in self.mine and any(name in self._order and name not in self.runs for name in self.mine)

    def _is_turn_of(self, key: str) -> bool:
        if not self.ordered or key in self.runs:
            return True
        first = next((name for name in self._order if name not in self.runs), key)
        return key == first or time.monotonic() - self._idle_since > ORDER_PATIENCE_S

    def next(self, key: str, cursor: int) -> Event | None:
        """Return report number `cursor`, the end after the last one, or None where neither is there yet.

        Asking for a report says that those before it were consumed and that the trial may go on.
        """
        with self._changed:
            run = self.runs.get(key)
            if run is None:
                return "unknown"
            run.last_call = time.monotonic()
            if not run.begun and run.verdict == "go" and run.end is None:
                self._start(run)
            if cursor > run.consumed:
                run.consumed = cursor
                self._changed.notify_all()
            if cursor < len(run.reports):
                return run.reports[cursor]
            return run.end

    def leave(self, key: str) -> bool:
        """Have the run of a trial write a checkpoint and leave; True while it has not left."""
        with self._changed:
            run = self.runs.get(key)
            if run is None or run.end is not None:
                return False
            if run.verdict == "go":
                self._tell(run, "interrupt")
            return run.end is None

    # --- what a scheduler calls ----------------------------------------------------------------------------------

    def stop(self, key: str) -> None:
        """End a trial at the step that it last reported; nothing where it does not run here."""
        with self._changed:
            run = self.runs.get(key)
            if run is not None and run.end is None and run.verdict == "go":
                self._tell(run, "stop")

    # --- what the engine's process calls -------------------------------------------------------------------------

    def active(self) -> list[SlotRun]:
        """Return the runs that have not ended."""
        return [run for run in self.runs.values() if run.end is None]

    def _in_slots(self) -> int:
        return sum(run.key not in self._guests for run in self.active())

    def open(self) -> None:
        """Give slots from now on."""
        with self._changed:
            self.is_open, self._idle_since = True, time.monotonic()
            self._run_ahead()

    def inherit(self, keys: Sequence[str]) -> None:
        """Take over trials of an engine that is gone for good; safe to call twice."""
        with self._changed:
            if not self.ahead:  # trials come by themselves
                self.mine = (*self.mine, *(key for key in keys if key not in self.mine))
                return
            new = [key for key in keys if key not in self.ahead]
            self.ahead = (*self.ahead, *new)
            self._left += [key for key in new if not is_finished(self.jobs[key])]
            self._run_ahead()

    def begin(self, key: str) -> None:
        """Begin a trial that is on its way, as soon as there is a place for it; safe to call twice."""
        with self._changed:
            if key not in self.runs and key not in self._left and not self.ahead:
                self._left.append(key)
                self._run_ahead()

    def run_again(self, jobs: Mapping[str, TrialJob]) -> None:
        """Run trials once more that nobody follows, as with another evaluation; safe to call twice."""
        with self._changed:
            for key, job in jobs.items():
                run = self.runs.get(key)
                if (run is not None and run.end is None) or key in self._left or is_finished(job):
                    continue
                self.runs.pop(key, None)
                self._again.add(key)
                self.jobs[key] = job
                self._left.append(key)
                self.width.more(1)
            self._run_ahead()

    def interrupt(self) -> None:
        """Give no slot any more, and tell every run to write a checkpoint and leave."""
        with self._changed:
            self.closed = True
            for run in self.active():
                self._tell(run, "interrupt")

    def expire(self) -> list[str]:
        """Tell runs to leave whose trial has gone silent or whose trial's process died; return their keys.

        What was begun ahead is this engine's to finish: it needs no trial.
        """
        gone: list[str] = []
        with self._changed:
            for run in self.active():
                silent_s = time.monotonic() - run.last_call
                # Tune starts a trial again whose process died, and that one follows the run that is there.
                dead = silent_s > self.dead_s and run.caller is not None and run.caller.is_dead
                if run.verdict == "go" and not run.own and (silent_s > self.silent_s or dead):
                    self._tell(run, "interrupt")
                    gone.append(run.key)
        return gone

    def _tell(self, run: SlotRun, verdict: RunVerdict) -> None:
        run.verdict = verdict
        if not run.begun:
            run.end = INTERRUPTED
            self.width.now(self._in_slots())
        self._tell_all()

    def _tell_all(self) -> None:
        self._changed.notify_all()
        self.on_news()

    # --- the thread of a slot ------------------------------------------------------------------------------------

    def _work(self, run: SlotRun) -> None:
        record = TrialRecord(Path(run.job.folder), self.fence)
        try:
            result = self.engine.run(run.job, lambda report: self._report(run, report), lambda: self._control(run))
            end = TrialEnd(result.state)
        except Interrupted as error:
            end = INTERRUPTED
            if run.verdict != "interrupt":  # the engine's own wish: nothing can be written any more
                self.paused = str(error)
                self.interrupt()
        except LeaseLost:
            end = INTERRUPTED
            if self.on_lease_lost is not None:
                self.on_lease_lost()
        except DeviceLost:
            end = INTERRUPTED
            if self.on_device_lost is not None:
                self.on_device_lost()
        except Exception as error:  # the engine's own fault: this trial has failed, the others go on
            end = self._failed(record, error)
        with self._changed:
            run.end = end
            self._idle_since = time.monotonic()
            self.deaths.ended(run.key)
            if run.key not in self._guests:
                self.width.ended(self._in_slots())
            self._run_ahead()
            self._tell_all()

    def _failed(self, record: TrialRecord, error: Exception) -> TrialEnd:
        try:
            write_failure(record, f"{type(error).__name__}: {error}", traceback.format_exc(), self.engine.name)
        except (OSError, LeaseLost):
            return INTERRUPTED  # nothing can be written: without a result the trial is not finished
        return TrialEnd(TrialState.FAILED)

    def _report(self, run: SlotRun, report: TrialReport) -> None:
        with self._changed:
            run.reports.append(report)
            if not report.recorded and self.deaths.came_to(run.key, report.step):
                self._run_ahead()
            number = len(run.reports)
            self._tell_all()
            if self.lockstep and not run.own and report.phase == "train":
                self._changed.wait_for(lambda: run.consumed >= number or run.verdict != "go")

    def _control(self, run: SlotRun) -> RunVerdict:
        # After its last step a trial cannot be stopped any more: it is done, whatever the scheduler said.
        if run.verdict == "stop" and run.reports and run.reports[-1].step >= run.job.trial.train.max_steps:
            return "go"
        return run.verdict


def write_failure(record: TrialRecord, cause: str, trace: str, engine: str) -> None:
    """Record a trial as failed for a reason outside its training, unless it has a result by now."""
    if record.result() is None:
        record.write_error(cause, trace)
        record.write_result(TrialResult(state=TrialState.FAILED, cause=cause, engine=engine))
