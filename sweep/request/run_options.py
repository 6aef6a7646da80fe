"""How a request is to be run, as far as it changes no result (no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Where a sweep lies, what it may use of the machine, and the command that asked for it."""

    out: Path
    source: str = "auto"
    seeds: int = 1
    most_seeds: int = 1  # that a race may run those with that it leaves
    settle: str | None = None  # the margin of a race, in points, or "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    retry_failed: bool = False
    command: str = ""
    experiment_file: tuple[str, str] | None = None  # its name as given, and its text
    pack_width: int | None = None  # trials that share a packed engine
    warm_start: str | None = None  # another sweep, for a search to learn from
    memory_bytes: int | None = None  # that an engine may use
