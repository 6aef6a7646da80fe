"""Sweeps on disk for the tests: real records, with texts made from their references and really scored."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.config import EvalConfig, TrainConfig, TrialConfig, eval_id
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.manifest import DataEntry, ModelEntry, SweepManifest, SweepSources
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.scoring.metrics import means, score, signature

PEOPLE = ("Anna", "Ben", "Chris", "Dora", "Emil", "Fay")
PLANS = ("picnic", "meeting", "exam", "concert", "match", "dinner", "trip", "party")
TIMES = ("today", "tomorrow", "on Friday", "at noon", "next week", "on Sunday")
PLACES = ("in the park", "at school", "downtown", "at the lake", "at her place")
NOISE = ("someone", "talks", "about", "things", "and", "they", "agree", "to", "meet", "later")


@dataclass(frozen=True)
class Trial:
    """A trial to write: `quality` is the share of right words in its texts."""

    name: str
    label: str
    train: TrainConfig
    quality: float = 0.5
    state: str | None = "done"  # None: pending
    cause: str | None = None
    evaluations: tuple[EvalConfig, ...] | None = None  # None: the sweep's own
    result: dict[str, Any] = field(default_factory=dict)


def make_examples(split: str, count: int) -> list[dict[str, Any]]:
    draw = random.Random(split)
    rows = []
    for index in range(count):
        one, other = draw.sample(PEOPLE, 2)
        plan, time, place = draw.choice(PLANS), draw.choice(TIMES), draw.choice(PLACES)
        source = (
            f"{one}: hi!\n{other}: hey\n{one}: are you coming to the {plan} {time}?\n"
            f"{other}: where is it?\n{one}: it is {place}, {plan} as always\n{other}: ok, see you {time}"
        )
        summary = f"{one} and {other} meet for a {plan} {time} {place}."
        rows.append({"id": f"{split}-{index}", "source": source, "references": [summary]})
    return rows


def predict(example: dict[str, Any], quality: float, key: str) -> str:
    """Return the reference with each word kept with probability `quality`, else another word."""
    draw = random.Random(f"{key} {example['id']}")
    return " ".join(
        word if draw.random() < quality else draw.choice(NOISE) for word in example["references"][0].split()
    )


def evaluate(trial: Trial, examples: list[dict[str, Any]], metrics: Sequence[str], split: str) -> tuple[list, dict]:
    """Return the predictions of a split and their summary, as an evaluation of a trial writes them."""
    rows: list[dict[str, Any]] = []
    for example in examples:
        text = predict(example, trial.quality, trial.label)
        tokens = len(example["references"][0].split()) + 1
        noise = random.Random(f"{trial.label} {example['id']} loss").uniform(-0.2, 0.2)
        row = {"id": example["id"], "text": text, "new_tokens": tokens, "ended": "eos", "source_tokens_cut": 0}
        row |= {"nll": tokens * (3 - 2 * trial.quality + noise), "nll_tokens": tokens}
        row["scores"] = score(text, example["references"], metrics)
        rows.append(row)
    loss = sum(row["nll"] for row in rows) / sum(row["nll_tokens"] for row in rows)
    summary = {"examples": len(rows), "failed": 0, "eval_loss": loss, "perplexity": math.exp(loss)}
    summary |= means(row["scores"] for row in rows)
    summary |= {"generated_tokens": sum(row["new_tokens"] for row in rows) / len(rows), "empty_rate": 0.0}
    summary |= {"limit_rate": 0.0, "success_rate": 1.0, "sources_cut": 0}
    return rows, summary


def write_trial(record: TrialRecord, index: int, trial: Trial, evaluation: EvalConfig, folder: SweepFolder) -> None:
    record.write_config(TrialConfig(train=trial.train, evaluation=evaluation), index, trial.name, trial.label)
    if trial.state is None:
        return
    if trial.state in ("done", "stopped"):
        for one in (evaluation,) if trial.evaluations is None else trial.evaluations:
            write_evaluation(record, trial, one, folder)
    baseline = trial.train.is_baseline
    result = {"state": trial.state, "cause": trial.cause, "engine": "solo", "device": "cpu", "precision": "fp32"}
    result |= {"steps": trial.train.max_steps, "total_parameters": 6_970_000, "train_loss": 2.5 - trial.quality}
    result |= {"trainable_parameters": 0 if baseline else 24_576 * trial.train.lora_rank}
    result |= {"adapter_bytes": 0 if baseline else 98_304 * trial.train.lora_rank + 1480, "seconds_per_step": 0.4321}
    result |= {"wall_s": 31.4 + index, "peak_memory_bytes": 812_345_678, "restarts": 0, **trial.result}
    record.write_result(TrialResult(**result))


def write_evaluation(record: TrialRecord, trial: Trial, evaluation: EvalConfig, folder: SweepFolder) -> None:
    predictions, splits = {}, {}
    for split, count in evaluation.examples.items():
        examples = make_examples(split, count)
        predictions[split], splits[split] = evaluate(trial, examples, evaluation.metrics, split)
    made_by = signature(evaluation.metrics, evaluation)
    summary = EvaluationSummary(signature=made_by, decoding="greedy", splits=splits, wall_s=3.2)
    record.write_evaluation(evaluation, predictions, summary)


def write_sweep(
    path: Path, trials: Sequence[Trial], evaluation: EvalConfig, banner: str | None = None, metric: str = "rougeL"
) -> Path:
    """Write a sweep's folder with its examples and the records of its trials, and return it."""
    folder = SweepFolder(path)
    sources = SweepSources(model=ModelEntry(label="pocket-gpt2"), data=DataEntry(label="pocket-chats"))
    asked = {"metric": metric, "evaluation": evaluation.model_dump(mode="json"), "eval_id": eval_id(evaluation)}
    folder.write_manifest(SweepManifest(experiment="grid_2x2x2", resolved=sources, banner=banner, **asked))
    for split in ("validation", "test"):
        folder.write_examples(folder.evaluation_examples_path(split), make_examples(split, 300))
    folder.write_examples(folder.train_examples_path(42), make_examples("train", 80))
    for index, trial in enumerate(trials):
        train_id = TrialConfig(train=trial.train, evaluation=evaluation).train_id
        record = TrialRecord(folder.trials_folder / f"{index:03d}-{trial.label}-{train_id}")
        write_trial(record, index, trial, evaluation, folder)
    return path


def write_curve(folder: Path, name: str, losses: Sequence[float], every: int = 4, grad_norm: float = 0.5) -> None:
    """Append a trial's curve: `losses` are those of the evaluations, one after `every` steps."""
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == name)
    for place, loss in enumerate(losses, start=1):
        for step in range(every * (place - 1) + 1, every * place + 1):
            row = {"kind": "train", "step": step, "train_loss": loss - 0.1, "grad_norm": grad_norm, "tokens": 60}
            record.append_metrics(row)
        record.append_metrics({"kind": "eval", "step": every * place, "eval_loss": loss, "examples": 12})


def without_schema(path: Path) -> None:
    """Write a document as versions did that named no schema."""
    content = atomic_files.read_json(path)
    del content["schema"]
    atomic_files.write_json(path, content)


def baseline(prompt: str = "v1", **changes: Any) -> Trial:
    train = TrainConfig(model="pocket-gpt2", data="pocket-chats", prompt=prompt, max_steps=0)
    return Trial(f"zero-shot {prompt}", f"zero-shot-{prompt}", train, **{"quality": 0.1, **changes})


def configuration(
    name: str, prompt: str = "v1", rank: int = 8, rate: float = 5e-4, seed: int = 42, **changes: Any
) -> Trial:
    train = {"model": "pocket-gpt2", "data": "pocket-chats", "prompt": prompt, "lora_rank": rank, "seed": seed}
    train |= {"learning_rate": rate, **changes.pop("train", {})}
    label = f"{name}-{prompt}-r{rank}-lr{rate:g}-s{seed}"
    return Trial(name, label, TrainConfig(**train), **changes)


def grid(**changes: dict[str, Any]) -> list[Trial]:
    """Return two baselines and the eight configurations A to H; `changes` by name."""
    points = [(prompt, rank, rate) for prompt in ("v1", "v2") for rank in (8, 16) for rate in (5e-4, 2e-4)]
    trials = [baseline("v1"), baseline("v2")]
    for place, (name, (prompt, rank, rate)) in enumerate(zip("ABCDEFGH", points, strict=True)):
        trials.append(
            configuration(name, prompt, rank, rate, **{"quality": 0.4 + 0.03 * place, **changes.get(name, {})})
        )
    return trials


SMALL = EvalConfig(validation_examples=12, test_examples=20)
