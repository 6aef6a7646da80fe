"""The trials in a pack, and what each asks of the pack's one thread for the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from trainables.decoding.generate import Writing
from trainables.jobs import Control
from trainables.packed.adapter_optimizer import NextStep
from trainables.packed.evaluation import ReadRequest


class TrialTooLarge(MemoryError):
    """A trial needs more memory than it may have, however few share the pack."""


@dataclass(eq=False)
class PackMember:
    """A trial in the pack, and the time that the device has spent on it."""

    name: str
    key: tuple[str, ...]  # of its base
    is_adapted: bool = True  # has weights of its own
    must_leave: bool = False
    packmates: set[str] = field(default_factory=set)
    joined: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  # of the device, spent on this trial
    stepped: float | None = None  # when its last step was answered, None where its last answer was another
    recomputes: bool = False  # of that step
    left: float | None = None

    @property
    def device_share(self) -> float:
        """Share of the device's time, while this trial was in the pack, that was spent on it."""
        stay = (self.left or time.monotonic()) - self.joined
        return min(1.0, round(self.seconds / stay, 4)) if stay > 0 else 1.0


@dataclass(eq=False)
class DeviceRequest:
    """What a trial in the pack wants of the device: a call, an optimizer step, or losses or texts of rows."""

    member: PackMember
    control: Control
    call: Callable[[], Any] | None = None
    next_step: NextStep | None = None
    request: ReadRequest | None = None
    writing: Writing | None = None  # of texts, seeds left to the prompts; losses are asked without
    asked: float = field(default_factory=time.monotonic)
    after: tuple[PackMember, ...] = ()  # members who have to leave first
    future: Future[Any] = field(default_factory=Future)
