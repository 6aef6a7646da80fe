"""The Ray actor around an engine: builds it, gives its slots to trials, watches its driver.

One per device, started before the trials. Its methods are async and only look at what the slots' threads leave; the
model lives in those threads. The class is plain: `sweep.launch` makes an actor of it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep import lease
from sweep.lease import LeaseLost, Process
from sweep.slots import Engine, Slots
from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.jobs import EngineSetup, TrialJob
from trainables.record import Fence

ENGINES = {"solo": "trainables.solo:SoloEngine", "packed": "trainables.packed:PackedEngine"}
WATCH_S = 0.25
POLL_S = 0.02
LONG_POLL_S = 5.0


@dataclass(frozen=True)
class Holder:
    """On whose behalf an engine writes: the driver's process and its lease."""

    folder: str
    owner: str
    generation: int
    driver: Process

    @property
    def fence(self) -> Fence:
        return lease.fence(Path(self.folder), self.owner, self.generation)


@dataclass(frozen=True)
class Plan:
    """What an engine is started for; `jobs` in the order in which they are to train."""

    kind: str
    setup: EngineSetup
    jobs: dict[str, TrialJob]
    holder: Holder
    lockstep: bool
    ordered: bool


class EngineHost:
    """The actor: one engine, its slots, and a thread that ends the process soon after its driver."""

    def __init__(self, plan: Plan, restarted: bool | None = None) -> None:
        self.plan = plan
        self.slots: Slots | None = None
        self.opened = was_restarted() if restarted is None else restarted
        self._device = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._built = self._device.submit(self._build)
        threading.Thread(target=watch, args=(self,), name="watch", daemon=True).start()

    def _build(self) -> Slots:
        engine = build_engine(self.plan.kind, self.plan.setup, self.plan.holder.fence)
        self.slots = Slots(
            engine,
            self.plan.jobs,
            self.plan.holder.fence,
            lockstep=self.plan.lockstep,
            ordered=self.plan.ordered,
            on_lease_lost=lambda: os._exit(4),
        )
        if self.opened:
            self.slots.open()
        return self.slots

    # --- for the driver ------------------------------------------------------------------------------------------

    async def prepare(self, trials: list[TrialConfig], preflight: bool) -> dict[str, Any]:
        """Build the engine, load the base and, where asked, prove that every stage works.

        Returns {"engine", "slots", "facts"}, or {"user_error"} or {"error", "traceback"}.
        """

        def work() -> dict[str, Any]:
            slots = self._built.result()
            slots.engine.warm(trials[0])
            facts = slots.engine.preflight(trials) if preflight else {}
            return {"engine": slots.engine.name, "slots": slots.count, "facts": facts}

        try:
            return await asyncio.wrap_future(self._device.submit(work))
        except UserError as error:
            return {"user_error": str(error)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}

    async def open(self) -> None:
        """Let trials have slots from now on."""
        self.opened = True
        if self.slots is not None:
            self.slots.open()

    async def interrupt(self) -> bool:
        """Have every run write a checkpoint and leave; returns when they have."""
        if self.slots is not None:
            self.slots.interrupt()
            while self.slots.active():
                await asyncio.sleep(POLL_S)
        return True

    async def status(self) -> dict[str, Any]:
        """Return {"paused", "runs": [{"key", "started_s_ago", "report"}]}: why none can go on, and what runs now."""
        if self.slots is None:
            return {"paused": None, "runs": []}
        now = time.monotonic()
        runs = [
            {"key": run.key, "started_s_ago": now - run.started, "report": run.reports[-1] if run.reports else None}
            for run in self.slots.active()
        ]
        return {"paused": self.slots.paused, "runs": runs}

    async def sees(self, path: str) -> bool:
        """Tell whether a file of the driver's is visible here."""
        return Path(path).exists()

    async def pid(self) -> int:
        return os.getpid()

    # --- for trials ----------------------------------------------------------------------------------------------

    async def take(self, key: str, caller: Process) -> str:
        """Return "taken", "wait" (ask again), or "closed"."""
        return self.slots.take(key, caller) if self.slots is not None else "wait"

    async def next(self, key: str, cursor: int) -> dict[str, Any]:
        """Return report `cursor` or the end of a trial; {"kind": "wait"} where neither came within seconds."""
        until = time.monotonic() + LONG_POLL_S
        while time.monotonic() < until:
            event = self.slots.next(key, cursor) if self.slots is not None else {"kind": "unknown"}
            if event is not None:
                return event
            await asyncio.sleep(POLL_S)
        return {"kind": "wait"}

    async def free(self, key: str) -> None:
        if self.slots is not None:
            self.slots.free(key)


def build_engine(kind: str, setup: EngineSetup, fence: Fence) -> Engine:
    """Return the engine of that kind, or of a `module:Class` beside the built-in ones."""
    module, name = ENGINES.get(kind, kind).split(":")
    engine: Engine = getattr(importlib.import_module(module), name)(setup, fence)
    return engine


def was_restarted() -> bool:
    """Tell whether this actor replaces one whose process died: its driver has opened it long ago."""
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def watch(host: EngineHost) -> None:
    """End this process, and with it its hold on the device, soon after its driver or its lease is gone."""
    holder = host.plan.holder
    renewed, seen_at = None, time.monotonic()
    while True:
        time.sleep(WATCH_S)
        if holder.driver.is_dead:
            os._exit(3)
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
                os._exit(3)
        if host.slots is not None:
            host.slots.expire()
