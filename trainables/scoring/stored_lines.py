"""Prediction lines that a trial has already, by example: a larger evaluation of its weights writes the rest (no torch).

Evaluation sets are nested: each is the first n examples of one seeded order. What a row's text and loss are depends on
the weights, the prompt, the decoding and the room for the text, never on the other rows, so that a line of one
evaluation is the line of every other that decodes alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainables.config import EvalConfig, generation_id
from trainables.data.corpus import Example
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.scoring import evaluate_library
from trainables.scoring.metrics import score, signature

WRITING = ("decoding", "max_new_tokens")  # of an evaluation, what each text depends on
Lines = dict[str, dict[str, dict[str, Any]]]
"""Prediction lines by split and example id."""


def stored_lines(record: TrialRecord, evaluation: EvalConfig, examples: Mapping[str, Sequence[Example]]) -> Lines:
    """Return the lines of `evaluation` that whole evaluations of the trial hold, with the scores that it asks for.

    `examples` are those of each split, at least the ones evaluated. A line whose scores were made otherwise is scored
    again from its text.
    """
    wanted = {split: {one.id for one in examples[split][:count]} for split, count in evaluation.examples.items()}
    now = signature(evaluation.metrics, evaluation)
    found: Lines = {split: {} for split in wanted}
    stale: Lines = {split: {} for split in wanted}
    for identity, summary in _alike(record, evaluation):
        lines = found if summary.signature == now else stale
        for split in wanted.keys() & summary.splits.keys():
            read = record.predictions(identity, split)
            lines[split] |= {line["id"]: line for line in read if line["id"] in wanted[split]}
    again = {
        split: [line for identity, line in lines.items() if identity not in found[split]]
        for split, lines in stale.items()
    }
    for split, rows in rescored(again, evaluation, examples).items():
        found[split] |= {row["id"]: row for row in rows}
    return found


def covers(record: TrialRecord, evaluation: EvalConfig) -> bool:
    """Tell whether whole evaluations of the trial hold every line of `evaluation`, so that it needs no model."""
    most = dict.fromkeys(evaluation.examples, 0)
    for _, summary in _alike(record, evaluation):
        if summary.generation_id == generation_id(evaluation):
            return True  # also where a split is smaller than asked for
        for split in most.keys() & summary.splits.keys():
            most[split] = max(most[split], int(summary.splits[split]["examples"]))
    return all(most[split] >= count for split, count in evaluation.examples.items())


def rescored(
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    evaluation: EvalConfig,
    examples: Mapping[str, Sequence[Example]],
) -> dict[str, evaluate_library.PredictionLines]:
    """Return prediction lines by split with the scores that an evaluation asks for, made from their texts."""
    anew: dict[str, evaluate_library.PredictionLines] = {}
    for split, rows in lines.items():
        references = {example.id: example.references for example in examples[split]}
        anew[split] = [{**row, "scores": scores_of(row, references[row["id"]], evaluation)} for row in rows]
    return evaluate_library.scored(evaluation.metrics, anew, examples)


def scores_of(row: Mapping[str, Any], references: Sequence[str], evaluation: EvalConfig) -> dict[str, float]:
    """Return our own scores of one prediction; a failed one has an empty text and scores zero."""
    return score(str(row["text"]), list(references), evaluation.metrics)


def _alike(record: TrialRecord, evaluation: EvalConfig) -> list[tuple[str, EvaluationSummary]]:
    """Return the whole evaluations of a trial whose texts are written as those of `evaluation`."""
    whole = [(name, one) for name in record.evaluation_ids() if (one := record.summary(name)) is not None]
    asked = evaluation.model_dump(mode="json", include=set(WRITING))
    return [
        (name, one)
        for name, one in whole
        if one.generation_id == generation_id(evaluation) or {key: one.evaluation.get(key) for key in WRITING} == asked
    ]
