"""What an engine lends a trial while it runs: the base, an adapter, and the means to train and read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trainables.config import TrainConfig
from trainables.jobs import Control, EngineSetup
from trainables.modeling.base_model import LoadedBase
from trainables.records.checkpoint import Checkpoint, Tensors
from trainables.records.record import Fence
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples
from trainables.trial.evaluate import RowReader
from trainables.trial.training_loop import TrainingProgress, TrainSpec


@dataclass(frozen=True)
class EngineShare:
    """How a trial shared its engine with others, for its result."""

    device_share: float | None = None
    packmates: tuple[str, ...] = ()
    pack_width: dict[str, Any] | None = None
    narrowed_to: dict[str, int] | None = None


class TrialHandle(Protocol):
    """One trial while an engine runs it: its base and, where it trains one, its adapter."""

    def reader(self, control: Control) -> RowReader:
        """Return what reads this trial's rows: their losses and texts."""

    def train(self, spec: TrainSpec, progress: TrainingProgress, checkpoint: Checkpoint | None) -> None:
        """Train the adapter, from a checkpoint where there is one; raises Interrupted, Diverged."""

    def tensors(self) -> Tensors:
        """Return a copy of the adapter's weights."""

    def set_tensors(self, tensors: Tensors) -> None:
        """Give the adapter these weights."""

    def load(self, folder: Path) -> None:
        """Give the adapter the weights that `export` wrote."""

    def export(self, folder: Path) -> tuple[int, str]:
        """Write the adapter in PEFT format; returns the size in bytes and SHA-256 of its weights."""

    def counts(self) -> tuple[int, int]:
        """Return the parameters of the adapter and of the base."""

    def rehearse(self, rows: list[TokenRow]) -> tuple[int, float, float]:
        """Take a batch forward and backward once; returns its padded tokens, loss and gradient norm."""

    def seconds(self) -> float:
        """Return a count of the seconds that are this trial's own."""

    def facts(self) -> EngineShare:
        """Return how the trial shared the engine."""

    def leave(self) -> None:
        """Give the base back; the handle is of no use afterwards."""


class TrialEngine(Protocol):
    """What a trial asks of the engine that runs it, packed or solo."""

    name: str
    setup: EngineSetup
    fence: Fence
    tokenized: TokenizedExamples

    def open_trial(self, train: TrainConfig, adapted: bool, control: Control, name: str = "") -> TrialHandle:
        """Lend the base to a trial, `adapted` with a fresh adapter; raises Interrupted."""

    def base(self, train: TrainConfig) -> LoadedBase:
        """Return the frozen base of a trial."""


@contextmanager
def trial_handle(
    engine: TrialEngine, train: TrainConfig, control: Control, adapted: bool, name: str = ""
) -> Iterator[TrialHandle]:
    """Open a trial at an engine for the length of a block; raises Interrupted."""
    handle = engine.open_trial(train, adapted, control, name)
    try:
        yield handle
    finally:
        handle.leave()
