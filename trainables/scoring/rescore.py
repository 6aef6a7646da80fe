"""Scores and means of stored predictions: a new text metric needs no model (no torch)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trainables.config import EvalConfig, eval_id, generation_id
from trainables.data.corpus import Example
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.scoring import evaluate_library
from trainables.scoring.evaluate_library import PredictionLines
from trainables.scoring.metrics import means, score, signature


def rescore(
    record: TrialRecord, evaluation: EvalConfig, examples: Mapping[str, Sequence[Example]]
) -> EvaluationSummary | None:
    """Make an evaluation from the texts of one that differs in its metrics alone; None where there is none.

    `examples` are those of each split, at least the ones evaluated. Writes the evaluation and returns its summary.
    """
    began = time.monotonic()
    for identity in record.evaluation_ids():
        old = record.summary(identity)
        if identity == eval_id(evaluation) or old is None or old.generation_id != generation_id(evaluation):
            continue
        predictions: dict[str, PredictionLines] = {}
        for split in evaluation.examples:
            known = {example.id: example for example in examples[split]}
            rows = record.predictions(identity, split)
            predictions[split] = [
                {**row, "scores": scores_of(row, known[row["id"]].references, evaluation)} for row in rows
            ]
        predictions = evaluate_library.scored(evaluation.metrics, predictions, examples)
        write(record, evaluation, predictions, time.monotonic() - began)
        return record.summary(eval_id(evaluation))
    return None


def scores_of(row: Mapping[str, Any], references: Sequence[str], evaluation: EvalConfig) -> dict[str, float]:
    """Return our own scores of one prediction; a failed one has an empty text and scores zero."""
    return score(str(row["text"]), list(references), evaluation.metrics)


def write(
    record: TrialRecord, evaluation: EvalConfig, predictions: Mapping[str, PredictionLines], wall_s: float
) -> None:
    """Commit an evaluation with its summary."""
    summary = EvaluationSummary(
        signature=signature(evaluation.metrics, evaluation),
        decoding=evaluation.decoding.strategy,
        splits={split: summarize(rows) for split, rows in predictions.items()},
        wall_s=wall_s,
        evaluated_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    record.write_evaluation(evaluation, dict(predictions), summary)


def summarize(rows: PredictionLines) -> dict[str, Any]:
    """Return the means of a split's predictions; failed and empty ones count, with scores of zero.

    `eval_loss` is per token over all rows that have one; `success_rate` is the share that neither failed nor is empty.
    """
    count = len(rows)
    failed = [row for row in rows if row["ended"] == "error"]
    written = [row for row in rows if row["ended"] != "error"]
    tokens = sum(row["nll_tokens"] for row in rows if row["nll"] is not None)
    loss = math.fsum(row["nll"] for row in rows if row["nll"] is not None) / tokens if tokens else None
    empty = [row for row in written if not row["text"]]
    return {
        "examples": count,
        "failed": len(failed),
        "eval_loss": loss,
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        **means([row["scores"] for row in rows]),
        "generated_tokens": sum(row["new_tokens"] for row in rows) / count,
        "empty_rate": len(empty) / count,
        "limit_rate": sum(row["ended"] == "length" for row in rows) / count,
        "success_rate": (len(written) - len(empty)) / count,
        "sources_cut": sum(row["source_tokens_cut"] > 0 for row in rows),
    }
