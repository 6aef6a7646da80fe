"""One trial as its user would write it with Hugging Face Trainer, PEFT and the model's own `generate`.

What makes the losses comparable: our token rows in our order, labels on completion tokens alone, our first adapter
weights, and no dropout in the base. Favours to the peer: the rows come ready made, all ten examples are one batch of
an evaluation, texts are not scored, the optimizer is the fused one, and in bf16 the base's weights are bf16 too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from benchmarks.peers.job import Job
from benchmarks.work import EVALUATION_EXAMPLES, NEW_TOKENS, Work
from trainables.bases.load import keep_trainable_after_evaluation, nf4, switch_off_dropout
from trainables.config import TrainConfig
from trainables.hardware.device_memory import limit_memory
from trainables.model_files.load_pretrained import quiet
from trainables.modeling.base_model import DTYPES
from trainables.modeling.peft_lora import Clock, attach
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples
from trainables.trial.training_loop import MicroBatches

IGNORED = -100  # a label that the loss leaves out
MOST_EVALUATED = 16  # examples in a batch of an evaluation

Evaluated = Callable[[int, float], None]
"""Called with (step, evaluation loss) once the texts of that step are written too."""


def load_model(work: Work, job: Job) -> Any:
    """Load the base of the work as it is, its dropout off, in 4 bits where the trials ask for that."""
    folder, dtype = work.base.model_folder, DTYPES[work.first.precision]
    limit_memory(job.device, job.memory_bytes)
    with quiet():
        config = AutoConfig.from_pretrained(folder)
        switch_off_dropout(config)
        options: dict[str, Any] = {"config": config, "dtype": dtype}
        if work.first.quantization == "nf4":
            options |= {"quantization_config": nf4(dtype), "device_map": {"": job.device}}
            model = AutoModelForCausalLM.from_pretrained(folder, **options)
            keep_trainable_after_evaluation(model)
            return model
        return AutoModelForCausalLM.from_pretrained(folder, **options).to(job.device)


def with_adapter(base: Any, train: TrainConfig) -> Any:
    """Return PEFT's model with the adapter's first weights as this project draws them."""
    return attach(base, train, Clock(train.seed))


def labelled(row: TokenRow) -> dict[str, list[int]]:
    """Return a row as Trainer's datasets hold them: labels on the completion alone."""
    ids = [*row.prompt_ids, *row.target_ids]
    return {"input_ids": ids, "labels": [IGNORED] * len(row.prompt_ids) + list(row.target_ids)}


def collator(pad_id: int) -> Callable[[Sequence[dict[str, list[int]]]], dict[str, torch.Tensor]]:
    """Return what pads the rows of a batch on the right, to the longest of them."""

    def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([row[name] + [filler] * (width - len(row[name])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
        return {
            "input_ids": padded("input_ids", pad_id),
            "labels": padded("labels", IGNORED),
            "attention_mask": torch.tensor(mask),
        }

    return collate


def training_rows(tokenized: TokenizedExamples, train: TrainConfig) -> list[TokenRow]:
    """Return the rows of all steps, in this project's order."""
    rows = [row for row in tokenized.train_rows(train) if row.fits]
    return [rows[index] for index in MicroBatches(train, rows, tokenized.encoder(train).pad_id, 0).order]


def evaluation_rows(
    tokenized: TokenizedExamples, train: TrainConfig, new_tokens: int, count: int = EVALUATION_EXAMPLES
) -> list[TokenRow]:
    rows = tokenized.evaluation_rows(train, "validation", count, new_tokens)
    return [row for row in rows if row.fits]


def write_texts(model: Any, rows: Sequence[TokenRow], pad_id: int, eos_id: int, device: str) -> Any:
    """Generate for all prompts in one batch, padded on the left."""
    width = max(len(row.prompt_ids) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row.prompt_ids)) + list(row.prompt_ids) for row in rows])
    mask = torch.tensor([[0] * (width - len(row.prompt_ids)) + [1] * len(row.prompt_ids) for row in rows])
    with quiet(), torch.no_grad():
        return model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=pad_id,
            eos_token_id=eos_id,
        )


class _Looks(TrainerCallback):
    """Write the texts after each evaluation of the loss, tell of both, and end where enough was measured."""

    def __init__(self, write: Callable[[Any], Any] | None, steps: int, evaluated: Evaluated) -> None:
        self.write, self.steps, self.evaluated = write, steps, evaluated

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **_: Any
    ) -> None:
        if self.write is not None:
            self.write(model)
        self.evaluated(state.global_step, float(metrics["eval_loss"]))
        control.should_training_stop = control.should_training_stop or state.global_step >= self.steps


def train_one(model: Any, tokenized: TokenizedExamples, train: TrainConfig, job: Job, evaluated: Evaluated) -> None:
    """Train a trial up to the job's steps, with an evaluation and ten texts at every fourth."""
    encoder = tokenized.encoder(train)
    prompts = evaluation_rows(tokenized, train, NEW_TOKENS)

    def write(current: Any) -> Any:
        return write_texts(current, prompts, encoder.pad_id, encoder.eos_id, job.device)

    train_with(model, tokenized, train, job, _Looks(write, job.steps, evaluated), EVALUATION_EXAMPLES)


def train_and_look(
    model: Any, tokenized: TokenizedExamples, train: TrainConfig, job: Job, evaluated: Evaluated, examples: int
) -> None:
    """Train a trial up to the job's steps, with the loss of so many examples at every fourth and no texts."""
    train_with(model, tokenized, train, job, _Looks(None, job.steps, evaluated), examples)


def train_with(
    model: Any, tokenized: TokenizedExamples, train: TrainConfig, job: Job, looks: TrainerCallback, examples: int
) -> None:
    """Train a trial by Trainer, which evaluates the loss of so many examples and then calls `looks`."""
    encoder = tokenized.encoder(train)
    with quiet():
        trainer = Trainer(
            model=model,
            args=_arguments(train, job, min(examples, MOST_EVALUATED)),
            train_dataset=[labelled(row) for row in training_rows(tokenized, train)],
            eval_dataset=[labelled(row) for row in evaluation_rows(tokenized, train, 0, examples)],
            data_collator=collator(encoder.pad_id),
            callbacks=[looks],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _arguments(train: TrainConfig, job: Job, evaluated_at_once: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=f"{job.folder}/trainer",
        max_steps=train.max_steps,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        per_device_eval_batch_size=evaluated_at_once,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.schedule,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        optim="adamw_torch_fused",
        seed=train.seed,
        train_sampling_strategy="sequential",
        bf16=train.precision == "bf16",
        fp16=train.precision == "fp16",
        use_cpu=job.device == "cpu",
        torch_compile=job.compiled,
        gradient_checkpointing=train.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy="steps",
        eval_steps=train.eval_every_steps,
        prediction_loss_only=True,
        logging_steps=train.eval_every_steps,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=job.device != "cpu",
        log_level="error",
    )
