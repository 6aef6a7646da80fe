"""What both engines share of a training: the order of the data, the log of its steps, checkpoints, and when it ends.

An engine takes the micro-batches of one step after another and tells the log what came of each. The log records the
step, asks `control`, has the due evaluation made, writes checkpoints, and says when the training has ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import Dataset

from trainables.config import TrainConfig
from trainables.data.corpus import epoch_order
from trainables.jobs import Control, Interrupted, OnReport, TrialReport
from trainables.modeling.loss import Batch, collate
from trainables.records.checkpoint import Checkpoint, Tensors, save_checkpoint
from trainables.records.record import TrialRecord
from trainables.tokenization.token_rows import TokenRow

SMALLEST_SCALE = 1.0  # an fp16 loss scale below it: gradients overflow whatever the scale


class Diverged(RuntimeError):
    """Loss, gradients or weights are no longer finite."""


@dataclass(frozen=True)
class TrainSpec:
    """What is trained, on which rows, and whom to tell; `evaluate` returns the validation loss and its rows' number."""

    train: TrainConfig
    record: TrialRecord
    rows: Sequence[TokenRow]  # the training rows that fit
    pad_id: int
    tensors: Callable[[], Tensors]  # a copy of the adapter's weights
    evaluate: Callable[[], tuple[float | None, int]]
    generate: Callable[[], dict[str, Any]]
    report: OnReport
    control: Control


@dataclass
class TrainingProgress:
    """How far a training has come; its numbers travel in checkpoints."""

    step: int = 0
    tokens: int = 0
    train_s: float = 0.0  # steps, curves and checkpoints
    steps_s: float = 0.0  # steps alone
    restarts: int = 0
    started_at: str = ""
    train_loss: float | None = None  # of the last step
    evaluated_step: int | None = None
    best_step: int | None = None
    best_loss: float | None = None
    stopped: bool = False
    skipped_steps: int = 0  # left out by fp16, whose gradients overflowed at the loss scale of the time
    changes: int = 0  # of the configuration, as in the trial's lineage
    owes: list[str] = field(default_factory=list)  # "eval", "generate" due at this step and not yet done
    best: Tensors = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("step", "best")}


def progress_of(checkpoint: Checkpoint | None) -> TrainingProgress:
    """Return the progress that a checkpoint holds."""
    if checkpoint is None:
        return TrainingProgress()
    facts = {key: value for key, value in checkpoint.facts.items() if key in TrainingProgress.__dataclass_fields__}
    return TrainingProgress(step=checkpoint.step, best=checkpoint.best, **facts)


@dataclass(frozen=True)
class MicroBatch:
    """A batch, its place in the training, and the completion tokens of its whole optimizer step."""

    batch: Batch
    step: int
    micro: int
    step_tokens: int


class MicroBatches(Dataset[MicroBatch]):
    """The micro-batches after `done` optimizer steps, in order: rows stream through epoch after epoch."""

    def __init__(self, config: TrainConfig, rows: Sequence[TokenRow], pad_id: int, done: int) -> None:
        self.config, self.rows, self.pad_id, self.done = config, rows, pad_id, done
        self.per_step = config.batch_size * config.gradient_accumulation_steps
        needed = config.max_steps * self.per_step
        epochs = math.ceil(needed / len(rows))
        self.order = [i for epoch in range(epochs) for i in epoch_order(len(rows), config.data_seed, epoch)][:needed]

    def __len__(self) -> int:
        return (self.config.max_steps - self.done) * self.config.gradient_accumulation_steps

    def __getitem__(self, index: int) -> MicroBatch:
        step, micro = divmod(index, self.config.gradient_accumulation_steps)
        step += self.done
        start = micro * self.config.batch_size
        chosen = self._rows_of(step)[start : start + self.config.batch_size]
        return MicroBatch(collate(chosen, self.pad_id), step, micro, self.step_tokens(step))

    def of_step(self, step: int) -> list[MicroBatch]:
        """Return the micro-batches of an optimizer step, counted from 0."""
        count = self.config.gradient_accumulation_steps
        return [self[(step - self.done) * count + micro] for micro in range(count)]

    def step_tokens(self, step: int) -> int:
        """Return the completion tokens of an optimizer step, counted from 0."""
        return sum(len(row.target_ids) for row in self._rows_of(step))

    def _rows_of(self, step: int) -> list[TokenRow]:
        return [self.rows[i] for i in self.order[step * self.per_step : (step + 1) * self.per_step]]


@dataclass
class TrainingLog:
    """Judges, records, evaluates and checkpoints a training after each optimizer step, and asks `control`.

    `moments` returns the optimizer's state and `more_facts` what else a checkpoint needs; `clock` counts the seconds
    that are this trial's own.
    """

    spec: TrainSpec
    progress: TrainingProgress
    data: MicroBatches
    moments: Callable[[], tuple[Tensors, dict[str, dict[str, float]]]]
    schedule_steps: int  # of the learning rate: fewer than steps where fp16 left some out
    loss_scale: Callable[[], float] | None = None  # of fp16
    more_facts: Callable[[], dict[str, Any]] = dict
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.mark = self.clock()
        self.saved_step = self.progress.step if self.progress.step else -1

    def book_time(self, steps: bool = False) -> None:
        """Add the time since the last call to that of the training, and to that of its steps where it was one."""
        now = self.clock()
        self.progress.train_s += now - self.mark
        self.progress.steps_s += now - self.mark if steps else 0.0
        self.mark = now

    def book_step(self, loss: float, learning_rate: float, grad_norm: float) -> bool:
        """Record an optimizer step: its loss, rate, and gradient norm before clipping; True where it was the last.

        Raises Interrupted, after a checkpoint, and Diverged.
        """
        progress, spec = self.progress, self.spec
        progress.step += 1
        self.book_time(steps=True)
        tokens = self.data.step_tokens(progress.step - 1)
        progress.tokens += tokens
        progress.train_loss = loss
        self._judge(loss, grad_norm)
        spec.record.append_metrics(
            {
                "kind": "train",
                "step": progress.step,
                "train_loss": loss,
                "learning_rate": learning_rate,
                "grad_norm": grad_norm,
                "tokens": tokens,
                "time_s": round(progress.train_s, 3),
            }
        )
        order = spec.control()
        progress.stopped = order == "stop"
        last = progress.step == spec.train.max_steps or progress.stopped
        evaluated = last or _due(progress.step, spec.train.eval_every_steps)
        generated = _due(progress.step, spec.train.generate_every_steps)
        progress.owes = ["eval"] * evaluated + ["generate"] * generated
        try:
            if order == "interrupt":
                raise Interrupted(f"interrupted after step {progress.step}")
            settle(spec, progress)
        except Interrupted:
            self.checkpoint()
            raise
        if evaluated:
            # A scheduler judges the report just made: its stop holds at this step, not after one more, and who is
            # told to leave before it has judged leaves here, so that its stop still finds this step.
            order = spec.control()
            progress.stopped = progress.stopped or order == "stop"
            last = last or progress.stopped
            self.checkpoint()
            if order == "interrupt":
                raise Interrupted(f"interrupted after step {progress.step}")
        self.book_time()
        return last

    def checkpoint(self) -> None:
        """Write a checkpoint of this step, unless there is one."""
        progress, spec = self.progress, self.spec
        self.book_time()
        if progress.step == self.saved_step:
            return
        tensors, numbers = self.moments()
        facts = {**progress.facts(), "schedule_steps": self.schedule_steps, **self.more_facts()}
        save_checkpoint(spec.record, Checkpoint(progress.step, spec.tensors(), tensors, numbers, progress.best, facts))
        self.saved_step = progress.step

    def _judge(self, loss: float, grad_norm: float) -> None:
        step = self.progress.step
        if not math.isfinite(loss):
            raise Diverged(f"the training loss is {loss} at step {step}")
        if self.loss_scale is None:
            if not math.isfinite(grad_norm):
                raise Diverged(f"the gradient norm is {grad_norm} at step {step}")
            self.schedule_steps += 1
        elif math.isfinite(grad_norm):
            self.schedule_steps += 1
        # With fp16 a first overflow is how the loss scale is found; Trainer leaves that step out.
        elif self.loss_scale() < SMALLEST_SCALE:
            raise Diverged(f"fp16 gradients overflow at every loss scale at step {step}")
        else:
            self.progress.skipped_steps += 1


def resume(spec: TrainSpec, progress: TrainingProgress) -> bool:
    """Do what an interrupted training owes at its checkpoint; True where steps remain. Raises Interrupted, Diverged."""
    # Reports that were replayed may have been judged: a stop then holds at the step of the checkpoint.
    progress.stopped = progress.stopped or (progress.step > 0 and spec.control() == "stop")
    if progress.stopped and progress.evaluated_step != progress.step:
        progress.owes = ["eval"]
    settle(spec, progress)
    return progress.step < spec.train.max_steps and not progress.stopped


def settle(spec: TrainSpec, progress: TrainingProgress) -> None:
    """Make the evaluation and the texts that are due at this step; raises Interrupted, Diverged."""
    if "eval" in progress.owes:
        loss, examples = spec.evaluate()
        if loss is not None:
            _record_evaluation(spec, progress, loss, examples)
        progress.evaluated_step = progress.step
        progress.owes.remove("eval")
    if "generate" in progress.owes:
        spec.record.append_metrics({"kind": "generate", "step": progress.step, **spec.generate()})
        progress.owes.remove("generate")


def _record_evaluation(spec: TrainSpec, progress: TrainingProgress, loss: float, examples: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the evaluation loss is {loss} at step {progress.step}")
    spec.record.append_metrics({"kind": "eval", "step": progress.step, "eval_loss": loss, "examples": examples})
    if progress.best_loss is None or loss < progress.best_loss:
        progress.best_step, progress.best_loss = progress.step, loss
        if spec.train.keep_checkpoint == "best":
            progress.best = spec.tensors()
    spec.report(TrialReport(progress.step, loss, progress.train_loss))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
