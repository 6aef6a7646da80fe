"""Evaluations from stored predictions, and the means of any: a new text metric needs no model (no torch)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trainables.config import EvalConfig, eval_id
from trainables.data.corpus import Example
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.scoring.evaluate_library import PredictionLines
from trainables.scoring.metrics import means, signature
from trainables.scoring.stored_lines import covers, stored_lines


def rescore(
    record: TrialRecord, evaluation: EvalConfig, examples: Mapping[str, Sequence[Example]]
) -> EvaluationSummary | None:
    """Make an evaluation from the lines of others that decode alike; None where they lack any of its examples.

    `examples` are those of each split, at least the ones evaluated. Writes the evaluation and returns its summary.
    """
    began = time.monotonic()
    if not covers(record, evaluation):
        return None
    lines = stored_lines(record, evaluation, examples)
    whole = {
        split: [lines[split][example.id] for example in examples[split][:count]]
        for split, count in evaluation.examples.items()
    }
    write(record, evaluation, whole, time.monotonic() - began)
    return record.summary(eval_id(evaluation))


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
