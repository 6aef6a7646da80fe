"""What the readers of files return: plain records, and what a user should know of how they were read (no torch)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainables.errors import UserError
from trainables.units import size

Records = list[dict[str, Any]]

SAY_EVERY_S = 3.0
LARGE_BYTES = 64 * 2**20  # a file that may keep its parser silent for seconds is announced


class NoLayout(UserError):
    """A folder whose files name no split: only its dataset card, if any, can tell."""


@dataclass(frozen=True)
class Content:
    """What one file holds: its records, or those of each split that it names itself.

    `notes` are sentences on what had to be mended or passed over; `twice` are names of columns that stand in the file
    more than once; `hint` says what may be wrong where a field is not found.
    """

    records: Records
    splits: dict[str, Records] | None = None
    notes: tuple[str, ...] = ()
    twice: frozenset[str] = frozenset()
    hint: str = ""


@dataclass(frozen=True)
class Raw:
    """The records of a data set per split, with what its files had to say (see Content)."""

    splits: dict[str, Records]
    notes: tuple[str, ...] = ()
    twice: frozenset[str] = frozenset()
    hint: str = ""


@dataclass(eq=False)
class Ticker:
    """Says what is being done and how far it has come, where that takes longer than a few seconds."""

    say: Callable[[str], None] | None = None
    every_s: float = SAY_EVERY_S
    last_s: float = field(default_factory=time.monotonic)

    def begin(self, what: str, size_bytes: int = 0) -> None:
        """Say at once what may stay silent for long: the parser of a large file answers no question."""
        if self.say and size_bytes > LARGE_BYTES:
            self._speak(f"{what} ({size(size_bytes)})")

    def at(self, what: str, done: int, total: int | None = None, unit: str = "records") -> None:
        """Say how far `what` has come, unless something was said a moment ago."""
        if self.say and time.monotonic() - self.last_s >= self.every_s:
            self._speak(f"{what}: {done:,}{'' if total is None else f' of {total:,}'} {unit}")

    def _speak(self, sentence: str) -> None:
        assert self.say is not None
        self.last_s = time.monotonic()
        self.say(sentence)


SILENT = Ticker()
