"""The Ray actor around an engine: builds it, gives its slots to trials, watches its driver.

One per device, started before the trials. Its methods are async and only look at what the slots' threads leave; the
model lives in those threads. The class is plain: `sweep.ray_driver.launch` makes an actor of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sweep.engine_actor.crash_log import CrashLog, after_death
from sweep.engine_actor.notifier import Notifier
from sweep.engine_actor.slots import HostedEngine, Slots, write_failure
from sweep.environment import lease
from sweep.environment.lease import LeaseLost, Process
from sweep.environment.ray_variables import strip_worker
from sweep.environment.shared_folder import FolderProbe, SeenFolders
from sweep.monitor.engine_status import EngineStatus, Event, Prepared, RunStatus, Unprepared
from sweep.study.end_running import end_running
from trainables.config import EvalConfig, TrialConfig
from trainables.errors import UserError
from trainables.jobs import EngineSetup, Interrupted, TrialJob
from trainables.records.lineage import Change, adopt
from trainables.records.record import Fence, SweepFolder, TrialRecord
from trainables.startup_progress import current, stage

ENGINES = {"solo": "trainables.solo.engine:SoloEngine", "packed": "trainables.packed.engine:PackedEngine"}
WATCH_S = 0.5
POLL_S = 0.02
LONG_POLL_S = 5.0


@dataclass(frozen=True)
class LeaseHolder:
    """On whose behalf an engine writes: the driver's process and its lease."""

    folder: str
    owner: str
    generation: int
    driver: Process

    @property
    def fence(self) -> Fence:
        return lease.fence(Path(self.folder), self.owner, self.generation)


@dataclass(frozen=True)
class EnginePlan:
    """What an engine is started for; `jobs` in the order in which they are to train; the rest as `Slots` has it."""

    kind: str
    setup: EngineSetup
    jobs: dict[str, TrialJob]
    holder: LeaseHolder
    lockstep: bool
    ordered: bool
    ahead: tuple[str, ...] = ()
    early: bool = False
    mine: tuple[str, ...] = ()
    at_most: int | None = None
    deaths: str | None = None  # file in which it keeps under which trials its process died
    lost: str | None = None  # file that says that this engine's node is lost
    evaluation: EvalConfig = field(default_factory=EvalConfig)  # of trials that a search adds
    to_come: int = 0  # such trials that this engine is likely to get

    def job_of(self, key: str) -> TrialJob:
        """Return the job of a trial, read from its record where a search has added it since."""
        known = self.jobs.get(key)
        if known is not None:
            return known
        record = TrialRecord(SweepFolder(Path(self.setup.sweep_folder)).trials_folder / key)
        return TrialJob(str(record.folder), TrialConfig(train=record.train_config(), evaluation=self.evaluation))


class EngineHost:
    """The actor: one engine, its slots, and a thread that ends the process soon after its driver."""

    def __init__(self, plan: EnginePlan, restarted: bool | None = None) -> None:
        strip_worker()
        self.plan = plan
        self.slots: Slots | None = None
        self.news = Notifier()
        self.opened = False  # also where this process replaces one that died: its driver opens it again
        self.expected: list[str] = []  # trials that are on their way
        self.restarted = was_restarted() if restarted is None else restarted
        self.parent = os.getppid()
        # On a node that does not see the folder there is no lease to look at: the driver has to hear of that first.
        self.sees_folder = plan.lost is None or self.restarted
        self._adopting: dict[str, asyncio.Lock] = {}
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._built = self._device.submit(self._build)
        threading.Thread(target=watch, args=(self,), name="watch", daemon=True).start()

    def _build(self) -> Slots:
        plan = self.plan
        with stage("importing the engine's libraries"):
            engine = build_engine(plan.kind, plan.setup, plan.holder.fence)
        self.slots = Slots(
            engine,
            plan.jobs,
            plan.holder.fence,
            lockstep=plan.lockstep,
            ordered=plan.ordered,
            ahead=plan.ahead,
            early=plan.early,
            mine=plan.mine,
            at_most=plan.at_most,
            deaths=self._deaths(engine.name),
            job_of=plan.job_of,
            to_come=plan.to_come,
            on_news=self.news.tell,
            on_lease_lost=lambda: os._exit(4),
            on_device_lost=lambda: os._exit(5),  # Ray starts a new process, which continues from the checkpoints
        )
        if self.opened:
            self.slots.open()
        for key in list(self.expected):  # told of before there were slots
            self.slots.begin(key)
        return self.slots

    def _deaths(self, engine: str) -> CrashLog:
        """Return the deaths of the processes before this one, and record trials that are to be given up as failed."""
        if self.plan.deaths is None:
            return CrashLog()
        path = Path(self.plan.deaths)
        if not self.restarted:
            path.unlink(missing_ok=True)
            return CrashLog(path)
        deaths, given_up = after_death(path, lambda key: furthest_step(self.plan.job_of(key)))
        for key in given_up:
            cause = f"the engine's process died {deaths.counts[key]} times while this trial ran, without coming further"
            record = TrialRecord(Path(self.plan.job_of(key).folder), self.plan.holder.fence)
            known = record.error_path.read_text(encoding="utf-8") if record.error_path.exists() else ""
            write_failure(record, cause, known, engine)  # what a lost GPU left of its fault
            deaths.ended(key)
        return deaths

    def is_lost(self) -> bool:
        """Tell whether the driver counts this engine's node as lost, and has given its trials to others."""
        return self.plan.lost is not None and Path(self.plan.lost).exists()

    # --- for the driver ------------------------------------------------------------------------------------------

    async def prepare(self, trials: list[TrialConfig], preflight: bool) -> Prepared | Unprepared:
        """Build the engine, load the base and, where asked, prove that every stage works."""

        def work() -> Prepared:
            slots = self._built.result()
            slots.engine.warm(trials[0])
            said = slots.engine.preflight(trials).said if preflight else ()
            return Prepared(slots.engine.name, slots.count, said)

        try:
            return await asyncio.wrap_future(self._device.submit(work))
        except UserError as error:
            return Unprepared(str(error))
        except Exception as error:
            return Unprepared(f"{type(error).__name__}: {error}", traceback.format_exc())

    async def open(self) -> None:
        """Let trials have slots from now on."""
        self.opened = True
        if self.slots is not None:
            self.slots.open()

    async def inherit(self, keys: tuple[str, ...]) -> None:
        """Take over trials of an engine that is gone for good; asked again and again, since a new process forgets."""
        if self.slots is not None:
            self.slots.inherit(keys)

    async def begin(self, key: str) -> None:
        """Begin a trial whose follower is on its way; where this is lost, the follower begins it."""
        self.expected.append(key)
        if self.slots is not None:
            self.slots.begin(key)

    async def run_again(self, jobs: dict[str, TrialJob]) -> None:
        """Run trials once more that nobody follows, as with another evaluation; asked again and again, as above."""
        if self.slots is not None:
            self.slots.run_again(jobs)

    async def interrupt(self) -> bool:
        """Have every run write a checkpoint and leave; returns when they have."""
        if self.slots is not None:
            self.slots.interrupt()
            while self.slots.active():
                await asyncio.sleep(POLL_S)
        return True

    async def status(self) -> EngineStatus:
        """Return what this process does."""
        if self.slots is None:
            return EngineStatus(os.getpid(), self.opened, current())
        slots = self.slots
        runs = tuple(RunStatus(run.key, run.reports[-1] if run.reports else None) for run in slots.active())
        return EngineStatus(os.getpid(), self.opened, current(), slots.paused, runs, slots.width.occupancy())

    async def answer(self, probe: FolderProbe, name: str) -> SeenFolders:
        """Tell whether the driver's folders are here, and leave a file for the driver to find."""
        seen = await asyncio.to_thread(probe.answer, name)
        self.sees_folder = seen.sees_driver
        return seen

    async def pid(self) -> int:
        return os.getpid()

    # --- for trials ----------------------------------------------------------------------------------------------

    async def take(self, key: str, caller: Process, if_it_runs: bool = False) -> str:
        """Return "taken", "wait" (ask again), or "closed"."""
        return self.slots.take(key, caller, if_it_runs) if self.slots is not None else "wait"

    async def next(self, key: str, cursor: int) -> Event:
        """Return report `cursor` or the end of a trial; "wait" where neither came within seconds."""
        until = time.monotonic() + LONG_POLL_S
        while (left_s := until - time.monotonic()) > 0:
            with self.news.expected() as told:
                event = self.slots.next(key, cursor) if self.slots is not None else "unknown"
                if event is not None:
                    return event
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), left_s)
        return "wait"

    async def stop(self, key: str) -> None:
        """End a trial at the step that it last reported, as its scheduler wants."""
        if self.slots is not None:
            self.slots.stop(key)

    async def leave(self, key: str) -> None:
        """Have a trial write a checkpoint and leave its slot; returns when it has."""
        while self.slots is not None and self.slots.leave(key):
            await asyncio.sleep(POLL_S)

    async def adopt(self, key: str, change: Change) -> None:
        """Give a trial, which runs nowhere now, the state of another."""
        record = TrialRecord(Path(self.plan.job_of(key).folder), self.plan.holder.fence)

        def control() -> Literal["go", "interrupt"]:
            return "interrupt" if self.slots is not None and self.slots.closed else "go"

        with contextlib.suppress(Interrupted):  # its slot says the same
            async with self._adopting.setdefault(key, asyncio.Lock()):  # a trial that comes again finds it done
                await asyncio.to_thread(adopt, record, change, control)


def build_engine(kind: str, setup: EngineSetup, fence: Fence) -> HostedEngine:
    """Return the engine of that kind, or of a `module:Class` beside the built-in ones."""
    module, name = ENGINES.get(kind, kind).split(":")
    engine: HostedEngine = getattr(importlib.import_module(module), name)(setup, fence)
    return engine


def furthest_step(job: TrialJob) -> int:
    """Return the last step in a trial's curves, 0 where there is none."""
    return max((int(row["step"]) for row in TrialRecord(Path(job.folder)).metrics()), default=0)


def was_restarted() -> bool:
    """Tell whether this actor replaces one whose process died."""
    import ray

    with warnings.catch_warnings(action="ignore"):  # that this way of asking for it is old
        return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def end_study(holder: LeaseHolder) -> None:
    """Leave the running points of a search to the next run, unless that has come."""
    with contextlib.suppress(LeaseLost, OSError):
        holder.fence()
        end_running(SweepFolder(Path(holder.folder)).study_path)


def watch(host: EngineHost) -> None:
    """End this process, and with it its hold on the device, soon after its driver, its lease or its node is gone."""
    holder = host.plan.holder
    renewed, seen_at = None, time.monotonic()
    while True:
        time.sleep(WATCH_S)
        # Ray lets processes of a node go on whose own process was killed, and calls the node lost 14 s later.
        if holder.driver.is_dead or os.getppid() != host.parent or host.is_lost():
            if holder.driver.is_dead:
                end_study(holder)
            os._exit(3)
        if not host.sees_folder:
            continue
        try:
            holder.fence()
        except LeaseLost:
            os._exit(4)
        except OSError:
            continue
        if not holder.driver.is_here:
            # The driver's process cannot be seen from another host; its renewals can.
            held = lease.read(Path(holder.folder))
            if held is not None and held["renewed_at"] != renewed:
                renewed, seen_at = held["renewed_at"], time.monotonic()
            if time.monotonic() - seen_at > lease.STALE_S:
                end_study(holder)
                os._exit(3)
        if host.slots is not None:
            host.slots.expire()
