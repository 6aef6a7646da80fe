"""What the peers of a decision share: a trial trained by Trainer, whose texts are written and scored at its end."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from benchmarks.peers.job import Job, mark, tokenized_of
from benchmarks.peers.trainer import MOST_EVALUATED, evaluation_rows, train_and_look, training_rows, write_texts
from trainables.scoring.metrics import score

RUNGS, REDUCTION = 4, 3  # the first rung of ASHA in optimizer steps, and of how many trials one goes on

Told = Callable[[int, float], None]
"""Called with (step, evaluation loss) at every look but the last, after which the texts are written; may raise."""


def judge(model: Any, job: Job, index: int, told: Told) -> tuple[float, float]:
    """Train a configuration to its end and write its texts; returns their ROUGE-L and the last evaluation loss."""
    train = job.read_work().trials[index].train
    tokenized = tokenized_of(job)
    rows = training_rows(tokenized, train)
    a_step = train.batch_size * train.gradient_accumulation_steps
    last = float("nan")

    def evaluated(step: int, loss: float) -> None:
        nonlocal last
        tokens = sum(len(row.target_ids) for row in rows[: step * a_step])
        mark(job, "evaluated", index, step=step, eval_loss=loss, tokens=tokens)
        last = loss
        if step < job.steps:
            told(step, loss)

    examples = job.read_work().trials[index].evaluation.validation_examples
    train_and_look(model, tokenized, train, job, evaluated, examples)
    points = fmean(_scores(model, job, index, examples))
    mark(job, "judged", index, rougeL=points, texts=examples)
    return points, last


def _scores(model: Any, job: Job, index: int, examples: int) -> list[float]:
    """Write the texts of the validation examples, the prompts of about one length together, and score each."""
    trial, tokenized = job.read_work().trials[index], tokenized_of(job)
    encoder = tokenized.encoder(trial.train)
    new_tokens = trial.evaluation.max_new_tokens
    references = {one.id: one.references for one in tokenized.evaluation_examples("validation", examples)}
    rows = sorted(evaluation_rows(tokenized, trial.train, new_tokens, examples), key=lambda row: len(row.prompt_ids))
    found = []
    for first in range(0, len(rows), MOST_EVALUATED):
        batch = rows[first : first + MOST_EVALUATED]
        written = write_texts(model, batch, encoder.pad_id, encoder.eos_id, job.device)
        width = max(len(row.prompt_ids) for row in batch)
        for row, ids in zip(batch, written[:, width:].tolist(), strict=True):
            kept = ids[: ids.index(encoder.eos_id)] if encoder.eos_id in ids else ids
            found.append(score(encoder.decode(kept).strip(), list(references[row.example_id]), ("rouge",))["rougeL"])
    return found
