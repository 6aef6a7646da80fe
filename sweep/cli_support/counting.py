"""What takes long says what it does and how far it is, on stderr (no torch, no ray)."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TypeVar

from sweep.cli_support.command import note
from trainables.data.raw_records import Ticker

EVERY_S = 3.0

Item = TypeVar("Item")
_silent = {"s": 0.0}  # in such phases since something was said; shared: several short ones are long together


def ticker() -> Ticker:
    """Return what code below the command line says such things by."""
    return Ticker(lambda text: note(text, style="dim"), EVERY_S)


def counted(items: Collection[Item], phase: str, every_s: float = EVERY_S) -> Iterator[Item]:
    """Yield `items`; every few seconds say how many of them are done: 'naming the trials: 3,200 of 20,000'."""
    for done, item in enumerate(items):
        if done and _silent["s"] >= every_s:
            _silent["s"] = 0.0
            note(f"{phase}: {done:,} of {len(items):,}", style="dim")
        began = time.monotonic()
        yield item
        _silent["s"] += time.monotonic() - began
