"""A search whose trials end at once: real records, with a value that is a known function of the point."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.points import Search
from search_spaces.search import log_uniform, search, uniform
from sweep.study.study import SearchStudy, open_study
from trainables.config import EvalConfig, TrainConfig, eval_id
from trainables.jobs import TrialJob
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

BASE = TrainConfig(model="pocket-gpt2", data="pocket-chats", precision="fp32", max_steps=8)
EVALUATION = EvalConfig(validation_examples=4, test_examples=4)
AXES: dict[str, Any] = {
    "learning_rate": log_uniform(1e-4, 1e-1),
    "lora_rank": [4, 8, 16, 32],
    "lora_dropout": uniform(0, 0.2),
    "prompt": ["v1", "v2"],
}


def experiment(trials: int = 12, **changes: Any) -> Experiment:
    """Return an experiment that searches AXES, or the axes and options in `changes`."""
    options = {name: changes.pop(name) for name in ("seed", "metric", "evaluation") if name in changes}
    given = {name: changes.pop(name) for name in ("sampler", "objectives", "first") if name in changes}
    conditional = changes.pop("conditional", ())
    space = search(BASE, *conditional, trials=trials, **given, **(changes or AXES))
    return as_experiment(space, **options)


def as_experiment(space: Search, seed: int = 42, evaluation: EvalConfig = EVALUATION, **options: Any) -> Experiment:
    return Experiment("searched", "a search", search=replace(space, seed=seed), evaluation=evaluation, **options)


def new_sweep(path: Path) -> SweepFolder:
    """Write the folder of a sweep without trials."""
    folder = SweepFolder(path)
    folder.write_manifest(SweepManifest(experiment="searched"))
    return folder


def opened(path: Path, of: Experiment, chosen: str = "tpe", **options: Any) -> SearchStudy:
    """Open the study of a sweep's folder, which is made where there is none."""
    folder = SweepFolder(path) if path.exists() else new_sweep(path)
    return open_study(folder, of, chosen, options.pop("infeasible", lambda train: None), **options)


def score_of(train: TrainConfig) -> float:
    """Return a score with its best at rank 16, rate 1e-2, dropout 0.05, prompt v2."""
    rate = math.log10(train.learning_rate / 1e-2)
    rank = math.log2(train.lora_rank / 16)
    return (
        0.6 - 0.05 * rate**2 - 0.02 * rank**2 - 0.5 * (train.lora_dropout - 0.05) ** 2 + 0.03 * (train.prompt == "v2")
    )


def end(job: TrialJob, state: str = "done", score: Callable[[TrainConfig], float] = score_of, **result: Any) -> None:
    """Write the end of a trial: its curve, its evaluation unless it failed, and its result."""
    record, train = TrialRecord(Path(job.folder)), job.trial.train
    value = score(train)
    for step in (4, 8):
        record.append_metrics({"kind": "eval", "step": step, "eval_loss": 4 - 2 * value - step / 80, "examples": 4})
    if state in ("done", "stopped"):
        scores = {"rouge1": value + 0.1, "rouge2": value - 0.1, "rougeL": value, "eval_loss": 4 - 2 * value}
        splits = dict.fromkeys(job.trial.evaluation.examples, scores)
        record.write_evaluation(job.trial.evaluation, {}, EvaluationSummary(splits=splits))
        assert record.summary(eval_id(job.trial.evaluation)) is not None
    known = {"trainable_parameters": 1000 * train.lora_rank, "adapter_bytes": 4000 * train.lora_rank, "wall_s": 10.0}
    record.write_result(TrialResult(**{"state": state, "steps": train.max_steps, **known, **result}))


def run(study: SearchStudy, most: int = 1000, **how: Any) -> list[TrialJob]:
    """Run a search one trial after the other, to its end or for `most` trials; return what it tried."""
    jobs = []
    while len(jobs) < most and (job := study.ask()) is not None:
        end(job, **how)
        study.ended(Path(job.folder).name)
        jobs.append(job)
    return jobs


def points(jobs: list[TrialJob]) -> list[tuple[Any, ...]]:
    """Return what was tried, in order."""
    return [(one.trial.train.learning_rate, one.trial.train.lora_rank, one.trial.train_id) for one in jobs]


def copied(folder: Path, to: Path) -> Path:
    """Copy a sweep with the times of its files."""
    return Path(shutil.copytree(folder, to))


def without_score(path: Path, name: str) -> None:
    """Take a score out of a summary."""
    content = atomic_files.read_json(path)
    for scores in content["splits"].values():
        del scores[name]
    atomic_files.write_json(path, content)
