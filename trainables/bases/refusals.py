"""Which faster ways of computing the bases of this machine do not take, and why, kept for `sweep doctor` (no torch)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from trainables.hardware import machine
from trainables.records import atomic_files

KEPT = 16  # bases, those loaded last


@dataclass(frozen=True)
class BaseRefusals:
    """The ways that one base did not take when it was loaded last: name -> why."""

    model: str
    precision: str
    device: str
    refused: Mapping[str, str]


def refusals_path() -> Path:
    """Return the file of this machine's refusals."""
    return machine.cache_folder() / "refused_ways.json"


def read_all() -> list[BaseRefusals]:
    """Return what is kept, the base loaded last at the end; nothing where the file is absent or damaged."""
    try:
        return [BaseRefusals(**one) for one in atomic_files.read_json(refusals_path())["bases"]]
    except (OSError, atomic_files.DamagedFile, KeyError, TypeError, ValueError):
        return []


def remember(model: str, precision: str, device: str, refused: Mapping[str, str]) -> None:
    """Keep what a base was refused in place of what was kept of it; a folder that cannot be written is no error."""
    kept = read_all()
    others = [one for one in kept if (one.model, one.precision, one.device) != (model, precision, device)]
    now = [*others, BaseRefusals(model, precision, device, dict(refused))] if refused else others
    if now != kept:
        with contextlib.suppress(OSError):
            atomic_files.write_json(refusals_path(), {"bases": [asdict(one) for one in now[-KEPT:]]})
