"""`python -m benchmarks.study`: what a search costs beside its trials: a point asked for, and its study made anew.

Trials end at once with scores drawn at random; what is timed is the product's own functions on their records.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import output
from search_spaces.experiment import Experiment
from search_spaces.points import point_of
from search_spaces.search import integer, log_uniform, search, uniform
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from sweep.request.trials import TrialNames
from sweep.study.study import open_study
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.errors import one_of
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

SAMPLERS = ("tpe", "gp", "random", "cmaes", "nsga2")
EVALUATION = EvalConfig(validation_examples=64, test_examples=128)
EVALUATIONS = 8  # of each trial's loss
ENDED_AT = "2026-11-30T12:00:00+00:00"


def study(
    trials: Annotated[int, typer.Option("--trials", help="Records that the study is made of anew.")] = 1000,
    ask_at: Annotated[str, typer.Option("--ask-at", help="Finished trials after which points are asked for.")] = "500",
    samplers: Annotated[str, typer.Option("--samplers", help="Of those: tpe,gp,random,cmaes,nsga2.")] = "tpe,gp,random",
    asks: Annotated[int, typer.Option("--asks", help="Points asked for, by each sampler at each number.")] = 5,
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Time a study that is made anew from its records, and the next point by each sampler."""
    output.positive("--trials", trials)
    output.positive("--asks", asks)
    names = [one_of("--samplers", one.strip(), SAMPLERS) for one in samplers.split(",")]
    counts = output.numbers("--ask-at", ask_at)
    with tempfile.TemporaryDirectory() as scratch:
        rebuilt = _rebuilt(Path(scratch) / "rebuilt", trials)
        asked = [_asked(Path(scratch), sampler, count, asks) for count in counts for sampler in names]
    rows = [[f"{trials:,} records to a study", f"{rebuilt['wall_s']:.2f}", f"{rebuilt['cpu_s']:.2f}", ""]]
    rows += [
        [
            f"a point by {one['sampler']} after {one['trials']}",
            *(f"{one[key]:.3f}" for key in ("wall_s", "cpu_s", "most_s")),
        ]
        for one in asked
    ]
    made = output.table(f"Seconds, medians of {asks} points", ("what", "wall", "processor", "most wall"), rows)
    device = output.device_of("cpu", "pocket")
    output.publish(output.Findings("study", [made], {"rebuilt": rebuilt, "asked": asked}), device, results, as_json)
    return command.DONE


def _experiment(trials: int) -> Experiment:
    base = TrainConfig(model="pocket-gpt2", data="pocket-chats", precision="fp32")
    axes: dict[str, Any] = {
        "learning_rate": log_uniform(1e-4, 1e-1),
        "lora_rank": integer(1, 64, log=True),
        "lora_dropout": uniform(0, 0.2),
        "weight_decay": uniform(0, 0.1),
    }
    return Experiment("study", "a search", search=search(base, trials=trials, **axes), evaluation=EVALUATION)


def _rebuilt(path: Path, trials: int) -> dict[str, float]:
    folder, experiment = _sweep(path, trials)
    began, processor = time.perf_counter(), time.process_time()
    opened = open_study(folder, experiment, "random", lambda train: None)
    took = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - processor}
    assert (opened.fault, opened.points) == (None, trials)
    return took


def _asked(scratch: Path, sampler: str, trials: int, asks: int) -> dict[str, Any]:
    command.note(f"measuring: {sampler} after {trials} trials", style="dim")
    folder, experiment = _sweep(scratch / f"{sampler}-{trials}", trials, asks + 1)
    opened = open_study(folder, experiment, sampler, lambda train: None)
    wall, processor = [], []
    for _ in range(asks + 1):
        began, used = time.perf_counter(), time.process_time()
        job = opened.ask()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        assert job is not None
        _end(TrialRecord(Path(job.folder)), job.trial, random.Random(job.folder))
        opened.ended(Path(job.folder).name)
    # The first one imports what the sampler needs.
    times = {"wall_s": statistics.median(wall[1:]), "cpu_s": statistics.median(processor[1:]), "most_s": max(wall[1:])}
    return {"sampler": sampler, "trials": trials, **times}


def _sweep(path: Path, trials: int, more: int = 0) -> tuple[SweepFolder, Experiment]:
    """Write a sweep with so many finished trials of the search, which may have `more`."""
    folder, experiment = SweepFolder(path), _experiment(trials + more)
    assert experiment.search is not None
    folder.write_manifest(SweepManifest(experiment=experiment.name))
    draw, names = random.Random(trials), TrialNames(experiment, ())
    for _ in range(trials):
        point = {
            "learning_rate": 10 ** draw.uniform(-4, -1),
            "lora_rank": round(2 ** draw.uniform(0, 6)),
            "lora_dropout": draw.uniform(0, 0.2),
            "weight_decay": draw.uniform(0, 0.1),
        }
        train = experiment.filled_in(point_of(experiment.search, point))
        trial = TrialConfig(train=train, evaluation=EVALUATION)
        named = names.give(trial, trial.train_id)
        record = TrialRecord(folder.trials_folder / named.folder_name)
        record.write_config(trial, named.index, named.name, named.label)
        _end(record, trial, draw)
    return folder, experiment


def _end(record: TrialRecord, trial: TrialConfig, draw: random.Random) -> None:
    train = trial.train
    score = 0.6 - 0.05 * math.log10(train.learning_rate / 1e-2) ** 2 + draw.gauss(0, 0.01)
    rows: list[dict[str, Any]] = []
    for step in range(1, train.max_steps + 1):
        rows.append({"kind": "train", "step": step, "train_loss": 3 - score, "grad_norm": 0.5, "tokens": 60})
        if step % (train.max_steps // EVALUATIONS) == 0:
            rows.append({"kind": "eval", "step": step, "eval_loss": 4 - 2 * score, "examples": 64})
    record.write_metrics(rows)
    scores = {"rouge1": score + 0.1, "rouge2": score - 0.1, "rougeL": score, "eval_loss": 4 - 2 * score}
    texts = [{"id": f"{number}", "text": "x" * 300, "scores": scores} for number in range(64)]
    splits = dict.fromkeys(trial.evaluation.examples, scores)
    record.write_evaluation(trial.evaluation, dict.fromkeys(splits, texts), EvaluationSummary(splits=splits))
    known = {"trainable_parameters": 1000 * train.lora_rank, "adapter_bytes": 4000 * train.lora_rank, "wall_s": 10.0}
    record.write_result(TrialResult(state="done", steps=train.max_steps, ended_at=ENDED_AT, **known))


app = command.app(study)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.study"))
