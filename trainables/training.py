"""The training of one trial through Hugging Face Trainer, from a checkpoint or the start to its last step.

Trainer runs forward, backward, accumulation, clipping and the optimizer. Ours are the data order, the loss, the
schedule, evaluation, checkpoints and the judgement of non-finite numbers: Trainer's own would hide them, depend on its
batch size, or be written as pickles. A continued trial hands Trainer the micro-batches that remain, nothing is skipped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from trainables.checkpoint import Checkpoint, Tensors, save_checkpoint
from trainables.config import TrainConfig
from trainables.data import epoch_order
from trainables.jobs import Control, Interrupted, Report
from trainables.lora import Clock, adapter_parameters, adapter_tensors, set_adapter_tensors
from trainables.loss import Batch, collate, completion_loss
from trainables.model import arithmetic, quiet
from trainables.optim import build_optimizer, build_schedule, load_optimizer_state, optimizer_state
from trainables.record import TrialRecord
from trainables.tokens import Row

SMALLEST_SCALE = 1.0  # an fp16 loss scale below it: gradients overflow whatever the scale


class Diverged(RuntimeError):
    """Loss, gradients or weights are no longer finite."""


@dataclass(frozen=True)
class Lesson:
    """All that one training needs; `evaluate` returns the loss on the validation rows and their number."""

    train: TrainConfig
    record: TrialRecord
    model: Any
    clock: Clock
    rows: Sequence[Row]  # the training rows that fit
    pad_id: int
    device: str
    evaluate: Callable[[], tuple[float | None, int]]
    generate: Callable[[], dict[str, Any]]
    report: Report
    control: Control


@dataclass
class Progress:
    """How far a training is; its numbers travel in checkpoints."""

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
    owes: list[str] = field(default_factory=list)  # "eval", "generate" due at this step and not yet done
    best: Tensors = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("step", "best")}


def progress_of(checkpoint: Checkpoint | None) -> Progress:
    """Return the progress that a checkpoint holds."""
    if checkpoint is None:
        return Progress()
    facts = {key: value for key, value in checkpoint.facts.items() if key in Progress.__dataclass_fields__}
    return Progress(step=checkpoint.step, best=checkpoint.best, **facts)


def train(lesson: Lesson, progress: Progress, checkpoint: Checkpoint | None) -> None:
    """Train to `max_steps` or until told to stop; the model then holds the weights of `progress.step`.

    Raises:
        Interrupted: told to leave; a checkpoint holds what was reached.
        Diverged: a loss, gradient norm or evaluation loss is not finite.
    """
    config = lesson.train
    parameters = adapter_parameters(lesson.model)
    optimizer = build_optimizer(config, parameters)
    done = progress.step
    if checkpoint is not None:
        set_adapter_tensors(lesson.model, checkpoint.adapter)
        load_optimizer_state(optimizer, parameters, checkpoint.optimizer, checkpoint.optimizer_numbers)
        done = int(checkpoint.facts.get("schedule_steps", done))
    remaining = config.max_steps - progress.step
    # Reports that were replayed may have been judged: a stop then holds at the step of the checkpoint.
    progress.stopped = progress.stopped or (progress.step > 0 and lesson.control() == "stop")
    if progress.stopped and progress.evaluated_step != progress.step:
        progress.owes = ["eval"]
    settle(lesson, progress)
    if remaining <= 0 or progress.stopped:
        return
    data = MicroBatches(config, lesson.rows, lesson.pad_id, progress.step)
    with quiet():
        trainer = _LoraTrainer(
            lesson=lesson,
            model=lesson.model,
            args=_arguments(lesson, remaining),
            train_dataset=data,
            compute_loss_func=completion_loss,  # says that the loss is already divided by the whole step's tokens
            optimizers=(optimizer, build_schedule(config, optimizer, done)),
        )
        trainer.remove_callback(PrinterCallback)
        scaler = getattr(trainer.accelerator, "scaler", None)
        if scaler is not None and checkpoint is not None and "scaler" in checkpoint.facts:
            scaler.load_state_dict(checkpoint.facts["scaler"])
        trainer.add_callback(_Callback(lesson, progress, data, optimizer, scaler, done))
        trainer.train()


@dataclass(frozen=True)
class MicroBatch:
    """A batch, its place in the training, and the completion tokens of its whole optimizer step."""

    batch: Batch
    step: int
    micro: int
    step_tokens: int


class MicroBatches(Dataset[MicroBatch]):
    """The micro-batches after `done` optimizer steps, in order: rows stream through epoch after epoch."""

    def __init__(self, config: TrainConfig, rows: Sequence[Row], pad_id: int, done: int) -> None:
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

    def step_tokens(self, step: int) -> int:
        """Return the completion tokens of an optimizer step, counted from 0."""
        return sum(len(row.target_ids) for row in self._rows_of(step))

    def _rows_of(self, step: int) -> list[Row]:
        return [self.rows[i] for i in self.order[step * self.per_step : (step + 1) * self.per_step]]


class _LoraTrainer(Trainer):
    """Trainer with our loss and our order of the data."""

    def __init__(self, lesson: Lesson, **options: Any) -> None:
        super().__init__(**options)
        self.lesson = lesson

    def get_train_dataloader(self) -> DataLoader[MicroBatch]:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=lambda items: {"one": items[0]})

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        one: MicroBatch = inputs["one"]
        self.lesson.clock.step, self.lesson.clock.micro = one.step, one.micro
        with arithmetic(self.lesson.train.precision, self.lesson.device):
            return completion_loss(self.lesson.model, one.batch.to(self.lesson.device), one.step_tokens)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # counting them walks all parameters at every micro-batch


class _Callback(TrainerCallback):
    """Judge, log, evaluate, checkpoint and ask `control` after each optimizer step."""

    def __init__(
        self,
        lesson: Lesson,
        progress: Progress,
        data: MicroBatches,
        optimizer: Any,
        scaler: Any,
        schedule_steps: int,
    ) -> None:
        self.lesson, self.progress, self.data = lesson, progress, data
        self.optimizer, self.scaler = optimizer, scaler
        self.schedule_steps = schedule_steps
        self.first_step = progress.step
        self.mark = time.monotonic()
        self.saved_step = progress.step if progress.step else -1

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._tick()  # what came before, the set-up at first, is no part of a step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Trainer logs once a step: raw loss, gradient norm before clipping, and the rate that was used."""
        if not logs or "grad_norm" not in logs:
            return
        progress, lesson = self.progress, self.lesson
        progress.step = self.first_step + state.global_step
        self._tick(steps=True)
        tokens = self.data.step_tokens(progress.step - 1)
        progress.tokens += tokens
        progress.train_loss = float(logs["loss"])
        self._judge(progress.train_loss, float(logs["grad_norm"]))
        lesson.record.append_metrics(
            {
                "kind": "train",
                "step": progress.step,
                "train_loss": progress.train_loss,
                "learning_rate": float(logs["learning_rate"]),
                "grad_norm": float(logs["grad_norm"]),
                "tokens": tokens,
                "time_s": round(progress.train_s, 3),
            }
        )
        order = lesson.control()
        progress.stopped = order == "stop"
        last = progress.step == lesson.train.max_steps or progress.stopped
        evaluated = last or _due(progress.step, lesson.train.eval_every_steps)
        generated = _due(progress.step, lesson.train.generate_every_steps)
        progress.owes = ["eval"] * evaluated + ["generate"] * generated
        try:
            if order == "interrupt":
                raise Interrupted(f"interrupted after step {progress.step}")
            settle(lesson, progress)
        except Interrupted:
            self._checkpoint()
            raise
        if evaluated:
            self._checkpoint()
        self._tick()
        control.should_training_stop = control.should_training_stop or last

    def _judge(self, loss: float, grad_norm: float) -> None:
        step = self.progress.step
        if not math.isfinite(loss):
            raise Diverged(f"the training loss is {loss} at step {step}")
        if self.scaler is None:
            if not math.isfinite(grad_norm):
                raise Diverged(f"the gradient norm is {grad_norm} at step {step}")
            self.schedule_steps += 1
        elif math.isfinite(grad_norm):
            self.schedule_steps += 1
        # With fp16 a first overflow is how the loss scale is found; Trainer leaves that step out.
        elif self.scaler.get_scale() < SMALLEST_SCALE:
            raise Diverged(f"fp16 gradients overflow at every loss scale at step {step}")

    def _checkpoint(self) -> None:
        progress = self.progress
        self._tick()
        if progress.step == self.saved_step:
            return
        tensors, numbers = optimizer_state(self.optimizer, adapter_parameters(self.lesson.model))
        facts = {**progress.facts(), "schedule_steps": self.schedule_steps}
        if self.scaler is not None:
            facts["scaler"] = self.scaler.state_dict()
        adapter = adapter_tensors(self.lesson.model)
        save_checkpoint(self.lesson.record, Checkpoint(progress.step, adapter, tensors, numbers, progress.best, facts))
        self.saved_step = progress.step

    def _tick(self, steps: bool = False) -> None:
        now = time.monotonic()
        self.progress.train_s += now - self.mark
        self.progress.steps_s += now - self.mark if steps else 0.0
        self.mark = now


def settle(lesson: Lesson, progress: Progress) -> None:
    """Do the evaluation and the generation that are due at this step; raises Interrupted, Diverged."""
    if "eval" in progress.owes:
        loss, examples = lesson.evaluate()
        if loss is not None:
            _record_evaluation(lesson, progress, loss, examples)
        progress.evaluated_step = progress.step
        progress.owes.remove("eval")
    if "generate" in progress.owes:
        lesson.record.append_metrics({"kind": "generate", "step": progress.step, **lesson.generate()})
        progress.owes.remove("generate")


def _record_evaluation(lesson: Lesson, progress: Progress, loss: float, examples: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(f"the evaluation loss is {loss} at step {progress.step}")
    lesson.record.append_metrics({"kind": "eval", "step": progress.step, "eval_loss": loss, "examples": examples})
    if progress.best_loss is None or loss < progress.best_loss:
        progress.best_step, progress.best_loss = progress.step, loss
        if lesson.train.keep_checkpoint == "best":
            progress.best = adapter_tensors(lesson.model)
    lesson.report(report_row(progress.step, loss, progress.train_loss, "train", recorded=False))


def report_row(
    step: int, eval_loss: float | None, train_loss: float | None, phase: str, recorded: bool
) -> dict[str, Any]:
    """Return what an engine reports of a trial."""
    return {"step": step, "eval_loss": eval_loss, "train_loss": train_loss, "phase": phase, "recorded": recorded}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _arguments(lesson: Lesson, steps: int) -> TrainingArguments:
    config = lesson.train
    return TrainingArguments(
        output_dir=str(lesson.record.folder),
        max_steps=steps,
        per_device_train_batch_size=1,  # of ready micro-batches
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_grad_norm=config.max_grad_norm,
        learning_rate=config.learning_rate,
        seed=config.seed % 2**32,
        fp16=config.precision == "fp16",
        use_cpu=lesson.device == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,
        logging_strategy="steps",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        dataloader_num_workers=0,
        log_level="error",
    )
