"""The data of a sweep: read, said in a few lines, and what they change of its evaluation (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from search_spaces.experiment import Experiment
from sweep.cli_support.counting import ticker
from sweep.request import resolve as on
from sweep.request.overrides import Request
from trainables.config import EvalConfig, configured
from trainables.data.corpus import Corpus
from trainables.data.data_report import report_lines
from trainables.data.load_corpus import load_corpus
from trainables.errors import UserError
from trainables.prompts import check_fields, template_of
from trainables.scoring.metrics import mostly_unseen


@dataclass(frozen=True)
class Judged:
    """An experiment within what its data hold: sizes per split, and whether ROUGE sees words in them."""

    experiment: Experiment
    sizes: dict[str, int]
    sees_words: bool


def load(place: on.Base, experiment: Experiment) -> Corpus:
    """Read the data of an experiment; raises UserError for a field or split that it does not have."""
    base = experiment.grid.base
    needed = ("train", *experiment.evaluation.examples)
    source = on.data_source(place)
    corpus = load_corpus(source, base.source_field, base.target_field, experiment.keep_leaked, needed, ticker())
    for name in experiment.grid.axes.get("prompt", (base.prompt,)):
        check_fields(name, template_of(name, experiment.prompts), corpus.columns)
    return corpus


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return what was found in the data and left out of them, as `plan` and `run` say it alike."""
    return [f"data: {line}" for line in report_lines(report)]


def judge(experiment: Experiment, corpus: Corpus, request: Request, notes: list[str]) -> Judged:
    """Return the experiment as its data allow it, and add what there is to say of them to `notes`."""
    sizes = {split: len(examples) for split, examples in corpus.splits.items()}
    experiment = replace(experiment, evaluation=fit(experiment.evaluation, sizes, request, notes))
    sees_words = not mostly_unseen([one.references for one in corpus.splits["train"]])
    return Judged(seen(experiment, sees_words, notes), sizes, sees_words)


def fit(evaluation: EvalConfig, counts: Mapping[str, int], request: Request, notes: list[str]) -> EvalConfig:
    """Return the evaluation within what the splits hold: a default is cut to that, a number asked for is refused."""
    changed = {}
    for split, wanted in evaluation.examples.items():
        there = counts.get(split, 0)
        if wanted > there and request.own_sizes:
            raise UserError(f"{split}_examples must be at most {there}, the size of the {split} split, got {wanted}")
        if wanted > there:
            changed[f"{split}_examples"] = there
            notes.append(f"the {split} split has {there} examples: all are evaluated instead of {wanted}")
    return configured(EvalConfig, {**evaluation.model_dump(), **changed})


def seen(experiment: Experiment, sees_words: bool, notes: list[str]) -> Experiment:
    """Return an experiment that chrF decides where a ROUGE would which sees no words in the data."""
    if sees_words or not experiment.metric.startswith("rouge"):
        return experiment
    notes.append("ROUGE sees no words in most references (its tokens are a to z and digits): chrF decides in its place")
    metrics = tuple(dict.fromkeys((*experiment.evaluation.metrics, "chrf")))
    evaluation = configured(EvalConfig, {**experiment.evaluation.model_dump(), "metrics": metrics})
    return replace(experiment, evaluation=evaluation, metric="chrf")
