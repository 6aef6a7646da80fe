"""The data of a sweep: read, said in a few lines, and what they change of its evaluation (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search_spaces.experiment import Experiment
from sweep.cli_support.counting import ticker
from sweep.request import found_sources
from sweep.request.overrides import Request
from sweep.request.sanity_report import in_data
from trainables.config import EvalConfig, configured
from trainables.data.corpus import Corpus
from trainables.data.data_report import report_lines
from trainables.data.load_corpus import load_corpus
from trainables.errors import UserError
from trainables.prompts import check_fields, template_of
from trainables.records.manifest import DataEntry
from trainables.scoring.metrics import mostly_unseen


def read_corpus(place: found_sources.FoundSource, experiment: Experiment) -> Corpus:
    """Read the data of an experiment; raises UserError for a field or split that it does not have."""
    base = experiment.grid.base
    needed = ("train", *experiment.evaluation.examples)
    source = found_sources.data_source(place)
    corpus = load_corpus(source, base.source_field, base.target_field, experiment.keep_leaked, needed, ticker())
    for name in experiment.grid.axes.get("prompt", (base.prompt,)):
        check_fields(name, template_of(name, experiment.prompts), corpus.columns)
    return corpus


def data_lines(report: Mapping[str, Any]) -> list[str]:
    """Return what was found in the data and left out of them, as `plan` and `run` say it alike."""
    return [f"data: {line}" for line in report_lines(report)]


def data_entry_of(base: found_sources.FoundSource, corpus: Corpus) -> DataEntry:
    """Return what sweep.json keeps of a data set that has been read."""
    found: dict[str, Any] = {
        "report": corpus.report,
        "sizes": {split: len(examples) for split, examples in corpus.splits.items()},
        "stamp": found_sources.stamp(base),
    }
    if mostly_unseen([one.references for one in corpus.splits["train"]]):
        found["rouge_sees_words"] = False
    if mistakes := in_data(corpus):
        found["mistakes"] = mistakes
    return replace(base, fingerprint=corpus.fingerprint).data_entry(**found)


def within_data(experiment: Experiment, data: DataEntry, request: Request) -> tuple[Experiment, list[str]]:
    """Return an experiment as its data allow it, and what there is to say of that.

    Where ROUGE sees no words in the data, chrF decides in its place.
    """
    notes: list[str] = []
    values = {**experiment.evaluation.model_dump(), **_sizes(experiment.evaluation, data.sizes, request, notes)}
    metric = experiment.metric
    if not data.rouge_sees_words and metric.startswith("rouge"):
        notes.append(
            "ROUGE sees no words in most references (its tokens are a to z and digits): chrF decides in its place"
        )
        metric, values["metrics"] = "chrf", tuple(dict.fromkeys((*experiment.evaluation.metrics, "chrf")))
    return replace(experiment, evaluation=configured(EvalConfig, values), metric=metric), notes


def _sizes(evaluation: EvalConfig, sizes: Mapping[str, int], request: Request, notes: list[str]) -> dict[str, int]:
    """Return the numbers of examples that change: a default is cut to the split, a number asked for is refused."""
    changed = {}
    for split, wanted in evaluation.examples.items():
        there = sizes.get(split, 0)
        if wanted > there and request.own_sizes:
            raise UserError(f"{split}_examples must be at most {there}, the size of the {split} split, got {wanted}")
        if wanted > there:
            changed[f"{split}_examples"] = there
            notes.append(f"the {split} split has {there} examples: all are evaluated instead of {wanted}")
    return changed
