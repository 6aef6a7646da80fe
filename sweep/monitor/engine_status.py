"""What an engine says to the driver and to trials: plain, picklable types (no torch, no ray)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainables.jobs import TrialReport
from trainables.startup_progress import Stage


@dataclass(frozen=True)
class TrialEnd:
    """How a run in a slot ended: with the state of a trial's result, or interrupted."""

    state: str


Event = TrialReport | TrialEnd | Literal["wait", "unknown"]
"""What a trial is told that asks for its next report: `wait` where there is none yet, `unknown` of another process."""


@dataclass(frozen=True)
class RunStatus:
    """One run in a slot, with its last report."""

    key: str
    report: TrialReport | None = None


@dataclass(frozen=True)
class Occupancy:
    """How full an engine's slots were over `seconds`: trials at a time, None on average before one has ended."""

    chosen: int
    mean: float | None
    seconds: float


@dataclass(frozen=True)
class EngineStatus:
    """What an engine's process does: `stage` beside its trials; `paused` says why none can go on."""

    pid: int
    is_open: bool  # trials may have slots
    stage: Stage | None = None
    paused: str | None = None
    runs: tuple[RunStatus, ...] = ()
    occupancy: Occupancy | None = None  # None before the engine is built


@dataclass(frozen=True)
class Prepared:
    """An engine that has loaded its base; `said` are the sentences of its preflight, none where none was asked for."""

    engine: str
    slots: int
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unprepared:
    """Why an engine cannot start: without a traceback the user's own mistake, in one sentence."""

    cause: str
    traceback: str | None = None
