"""What an engine lends a trial while it runs: the base, an adapter, and the means to train and read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from trainables.config import TrainConfig
from trainables.jobs import Control, EngineSetup
from trainables.records.checkpoint import Checkpoint, Tensors
from trainables.records.record import Fence
from trainables.tokenization.token_rows import Row
from trainables.tokenization.tokenized_corpus import RowShelf
from trainables.trial.evaluate import Reads
from trainables.trial.training_loop import Lesson, Progress


class Seat(Protocol):
    """A trial's place at an engine; `adapted` seats hold an adapter, started afresh."""

    def reader(self, control: Control) -> Reads: ...

    def train(self, lesson: Lesson, progress: Progress, checkpoint: Checkpoint | None) -> None: ...

    def tensors(self) -> Tensors: ...

    def set_tensors(self, tensors: Tensors) -> None: ...

    def load(self, folder: Path) -> None: ...

    def export(self, folder: Path) -> tuple[int, str]:
        """Write the adapter in PEFT format; returns the size in bytes and SHA-256 of its weights."""

    def counts(self) -> tuple[int, int]:
        """Return the parameters of the adapter and of the base."""

    def rehearse(self, rows: list[Row]) -> tuple[int, float, float]:
        """Take a batch forward and backward once; returns its padded tokens, loss and gradient norm."""

    def seconds(self) -> float:
        """Return a count of the seconds that are this trial's own."""

    def facts(self) -> dict[str, Any]:
        """Return `device_share`, `packmates`, `pack_width` and `narrowed_to` for the result."""

    def leave(self) -> None: ...


class Engine(Protocol):
    """What trains and evaluates trials on one device."""

    name: str
    setup: EngineSetup
    fence: Fence
    shelf: RowShelf

    def seat(self, train: TrainConfig, adapted: bool, control: Control, name: str = "") -> Seat: ...

    def base(self, train: TrainConfig) -> Any: ...


@contextmanager
def seated(engine: Engine, train: TrainConfig, control: Control, adapted: bool, name: str = "") -> Iterator[Seat]:
    """Lend a seat for the length of a block; raises Interrupted."""
    seat = engine.seat(train, adapted, control, name)
    try:
        yield seat
    finally:
        seat.leave()
