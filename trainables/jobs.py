"""What an engine is given and how it is talked to: plain, picklable types (no torch).

An engine is built from an `EngineSetup` once per device and runs `TrialJob`s. While it runs one it calls `report` after
each evaluation and asks `control` between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from trainables.config import TrainConfig, TrialConfig

Control = Callable[[], Literal["go", "stop", "interrupt"]]
"""Asked every optimizer step and every few decoding steps: go on; end here and keep what there is; write and leave."""

PACK_WIDTH = 8
"""Trials that share a packed engine where nothing else is said."""

TRAIN_LOSS_EXAMPLES = 64
"""Training examples of which every trial's train loss is: no more than there are of the evaluation beside it."""


@dataclass(frozen=True)
class TrialReport:
    """What an engine says of a trial after each evaluation; `recorded`: of an earlier run, and told again."""

    step: int
    eval_loss: float | None = None
    train_loss: float | None = None
    phase: Literal["train", "evaluate", "done"] = "train"
    recorded: bool = False


OnReport = Callable[[TrialReport], None]
"""Called after each evaluation of a trial."""


BaseKey = tuple[str, str, str]
"""Model, quantization and precision: trials that have them in common share a base, and so may share a pack."""


class Interrupted(RuntimeError):
    """The engine was told to leave: what was reached is in a checkpoint, and the trial has no result."""


class PackNarrowed(Interrupted):
    """A trial has to leave its pack until there is memory for it; `is_spoiled` where its weights are lost by that."""

    def __init__(self, is_spoiled: bool = False) -> None:
        super().__init__("the pack is narrowed: memory has run out")
        self.is_spoiled = is_spoiled


class DeviceLost(RuntimeError):
    """A fault has left the GPU of no use to this process: a new one can continue what is in checkpoints."""


@dataclass(frozen=True)
class EngineSetup:
    """What all trials of one engine share."""

    sweep_folder: str
    model_folders: dict[str, str]  # label of a model in train.model -> local folder
    device: str = "cpu"  # "cpu" or "cuda"
    trust_remote_code: bool = False
    threads: int | None = None  # of the CPU; None leaves the library's choice
    pack_width: int | None = None  # trials that share a packed engine; None leaves its choice
    memory_bytes: int | None = None  # that an engine may use; None: all that the device has
    sharing: int = 1  # engines on the device, this one counted
    trials: tuple[TrialConfig, ...] = ()  # to come: for them a packed engine measures how wide to train and decode


@dataclass(frozen=True)
class TrialJob:
    """One trial to run: the folder of its record, and its configuration with `precision` resolved."""

    folder: str
    trial: TrialConfig


def go_on() -> Literal["go"]:
    """The control of a caller that never interrupts."""
    return "go"


def no_report(report: TrialReport) -> None:
    """The report of a caller that reads the record instead."""


def key_of(train: TrainConfig) -> BaseKey:
    """Return a trial's model, quantization and precision, which the trials of a pack have in common."""
    return train.model, train.quantization, train.precision


def by_base(trials: Iterable[TrialConfig]) -> dict[BaseKey, list[TrialConfig]]:
    """Return the trials of each base, in their order."""
    found: dict[BaseKey, list[TrialConfig]] = {}
    for one in trials:
        found.setdefault(key_of(one.train), []).append(one)
    return found
