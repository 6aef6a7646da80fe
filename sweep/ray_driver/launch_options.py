"""How to run a launch, as the command line says it (no ray, no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LaunchOptions:
    """How to run a launch; nothing here changes a result, except `scheduler`, which ends or changes trials early."""

    max_concurrent: int | None = None  # trials at once; None: as many as there are slots
    scheduler: Literal["none", "asha", "median", "pbt"] = "none"
    time_budget_s: float | None = None
    engine: str = "packed"
    engines: int | None = None  # on the CPU, which they share; None: 1
    engines_per_gpu: int = 1
    address: str | None = None  # of a Ray cluster to join; None: one of our own, on the loopback interface
    preflight: bool = True
    quiet: bool = False
    command: str | None = None  # that continues; None: the sweep's own
