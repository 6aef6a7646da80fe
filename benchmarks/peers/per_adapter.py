"""(c) Naive packing: one base, PEFT with all adapters on it, and a loop over them in every micro-batch."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.job import Job, job_of_command, mark, tokenized_of


@dataclass
class Learner:
    """One adapter with its rows and its optimizer."""

    index: int
    name: str
    train: Any
    rows: list[Any]
    losses: list[Any]
    prompts: list[Any]
    optimizer: Any
    parameters: list[Any]


def main(job: Job) -> int:
    """Train and evaluate the chosen trials in step with each other."""
    import torch

    torch.set_num_threads(job.threads)
    from benchmarks.peers import trainer

    work, tokenized = job.read_work(), tokenized_of(job)
    precision, cadence = work.first.precision, work.first.eval_every_steps
    encoder = tokenized.encoder(work.first)
    base = trainer.load_model(work, job)
    mark(job, "started")
    model, learners = _adapters(base, job, tokenized)
    collate = trainer.collator(encoder.pad_id)
    kind = job.device.split(":")[0]

    def arithmetic() -> Any:
        return contextlib.nullcontext() if precision == "fp32" else torch.autocast(kind, trainer.DTYPES[precision])

    def loss_of(rows: list[Any], tokens: int) -> Any:
        batch = {name: value.to(job.device) for name, value in collate([trainer.labelled(row) for row in rows]).items()}
        with arithmetic():
            return model(**batch, num_items_in_batch=torch.tensor(tokens, device=job.device)).loss

    for step in range(job.steps):
        model.train()
        for micro in range(work.first.gradient_accumulation_steps):
            for one in learners:
                size = one.train.batch_size
                whole = one.rows[step * size * one.train.gradient_accumulation_steps :]
                whole = whole[: size * one.train.gradient_accumulation_steps]
                model.set_adapter(one.name)
                loss_of(whole[micro * size : (micro + 1) * size], sum(len(row.target_ids) for row in whole)).backward()
        for one in learners:
            for group in one.optimizer.param_groups:
                group["lr"] = one.train.learning_rate * (1 - step / one.train.max_steps)
            torch.nn.utils.clip_grad_norm_(one.parameters, one.train.max_grad_norm)
            one.optimizer.step()
            one.optimizer.zero_grad()
        if (step + 1) % cadence == 0:
            model.eval()
            for one in learners:
                model.set_adapter(one.name)
                with torch.no_grad():
                    loss = loss_of(one.losses, sum(len(row.target_ids) for row in one.losses)).item()
                trainer.write_texts(model, one.prompts, encoder.pad_id, encoder.eos_id, job.device)
                mark(job, "evaluated", one.index, step=step + 1, eval_loss=loss)
    mark(job, "ended")
    return 0


def _adapters(base: Any, job: Job, tokenized: Any) -> tuple[Any, list[Learner]]:
    """Put an adapter per trial on the base, each started as this project starts it."""
    import torch
    from peft import LoraConfig, get_peft_model

    from benchmarks.peers import trainer
    from benchmarks.work import NEW_TOKENS
    from trainables.model_files.load_pretrained import quiet
    from trainables.modeling.peft_lora import start_of

    work = job.read_work()
    model: Any = None
    learners = []
    for index in job.chosen:
        train, name = work.trials[index].train, f"trial-{index}"
        config = LoraConfig(
            r=train.lora_rank,
            lora_alpha=train.lora_alpha,
            lora_dropout=train.lora_dropout,
            target_modules=list(train.target_modules),
            task_type="CAUSAL_LM",
            fan_in_fan_out=base.config.model_type == "gpt2",
        )
        with quiet():
            if model is None:
                model = get_peft_model(base, config, adapter_name=name)
            else:
                model.add_adapter(name, config)
        parameters = []
        for path, layer in model.named_modules():
            if name in getattr(layer, "lora_A", ()):
                a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
                start = start_of(train.seed, path.removeprefix("base_model.model."), tuple(a.shape))
                a.data = start.to(a.device)
                b.data = torch.zeros_like(b, dtype=torch.float32)
                parameters += [a, b]
        optimizer = torch.optim.AdamW(parameters, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
        rows = trainer.training_rows(tokenized, train)
        losses = trainer.evaluation_rows(tokenized, train, 0)
        prompts = trainer.evaluation_rows(tokenized, train, NEW_TOKENS)
        learners.append(Learner(index, name, train, rows, losses, prompts, optimizer, parameters))
    return model, learners


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
