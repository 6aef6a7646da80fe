"""The training of one trial through Hugging Face Trainer, from a checkpoint or the start to its last step.

Trainer runs forward, backward, accumulation, clipping and the optimizer. Ours are the data order, the loss, the
schedule, evaluation, checkpoints and the judgement of non-finite numbers: Trainer's own would hide them, depend on its
batch size, or be written as pickles. A continued trial hands Trainer the micro-batches that remain, nothing is skipped.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from trainables.model_files.load_pretrained import quiet
from trainables.modeling.base_model import LoadedBase, arithmetic
from trainables.modeling.loss import completion_loss
from trainables.modeling.optim import build_optimizer, build_schedule, load_optimizer_state, optimizer_state
from trainables.modeling.peft_lora import Clock, adapter_parameters, set_adapter_tensors
from trainables.records.checkpoint import Checkpoint
from trainables.trial.training_loop import MicroBatch, MicroBatches, TrainingLog, TrainingProgress, TrainSpec, resume


def train(
    spec: TrainSpec,
    base: LoadedBase,
    clock: Clock,
    device: str,
    progress: TrainingProgress,
    checkpoint: Checkpoint | None,
) -> None:
    """Train to `max_steps` or until told to stop; the model then holds the weights of `progress.step`.

    Raises:
        Interrupted: told to leave; a checkpoint holds what was reached.
        Diverged: a loss, gradient norm or evaluation loss is not finite.
    """
    config, model = spec.train, base.model
    parameters = adapter_parameters(model)
    optimizer = build_optimizer(config, parameters)
    done = progress.step
    if checkpoint is not None:
        set_adapter_tensors(model, checkpoint.adapter)
        load_optimizer_state(optimizer, parameters, checkpoint.optimizer, checkpoint.optimizer_numbers)
        done = int(checkpoint.facts.get("schedule_steps", done))
    if not resume(spec, progress):
        return
    data = MicroBatches(config, spec.rows, spec.pad_id, progress.step)
    with quiet():
        trainer = _LoraTrainer(
            base=base,
            clock=clock,
            model=model,
            args=_arguments(spec, device, config.max_steps - progress.step),
            train_dataset=data,
            compute_loss_func=completion_loss,  # says that the loss is already divided by the whole step's tokens
            optimizers=(optimizer, build_schedule(config, optimizer, done)),
        )
        trainer.precision, trainer.device = config.precision, device
        trainer.remove_callback(PrinterCallback)
        scaler = getattr(trainer.accelerator, "scaler", None)
        if scaler is not None and checkpoint is not None and "scaler" in checkpoint.facts:
            scaler.load_state_dict(checkpoint.facts["scaler"])
        log = TrainingLog(
            spec,
            progress,
            data,
            moments=lambda: optimizer_state(optimizer, parameters),
            schedule_steps=done,
            loss_scale=scaler.get_scale if scaler is not None else None,
            more_facts=lambda: {"scaler": scaler.state_dict()} if scaler is not None else {},
        )
        trainer.add_callback(_Callback(log))
        trainer.train()


class _LoraTrainer(Trainer):
    """Trainer with our loss and our order of the data."""

    precision: str
    device: str

    def __init__(self, base: LoadedBase, clock: Clock, **options: Any) -> None:
        super().__init__(**options)
        self.base = base
        self.clock = clock

    def get_train_dataloader(self) -> DataLoader[MicroBatch]:
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=lambda items: {"one": items[0]})

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        one: MicroBatch = inputs["one"]
        self.clock.step, self.clock.micro = one.step, one.micro
        with arithmetic(self.precision, self.device):
            return completion_loss(self.base, one.batch.to(self.device), one.step_tokens)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # counting them walks all parameters at every micro-batch


class _Callback(TrainerCallback):
    """Writes each optimizer step to the training log."""

    def __init__(self, log: TrainingLog) -> None:
        self.log = log

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.log.book_time()  # what came before, the set-up at first, is no part of a step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Trainer logs once a step: raw loss, gradient norm before clipping, and the rate that was used."""
        if not logs or "grad_norm" not in logs:
            return
        last = self.log.book_step(float(logs["loss"]), float(logs["learning_rate"]), float(logs["grad_norm"]))
        control.should_training_stop = control.should_training_stop or last


def _arguments(spec: TrainSpec, device: str, steps: int) -> TrainingArguments:
    config = spec.train
    return TrainingArguments(
        output_dir=str(spec.record.folder),
        max_steps=steps,
        per_device_train_batch_size=1,  # of ready micro-batches
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        max_grad_norm=config.max_grad_norm,
        learning_rate=config.learning_rate,
        seed=config.seed % 2**32,
        fp16=config.precision == "fp16",
        use_cpu=device == "cpu",
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
