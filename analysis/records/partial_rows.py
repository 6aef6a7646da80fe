"""Rows of a race that were evaluated on fewer examples than the table's: shown, and compared with nothing.

A row has a summary, and with it a place in every comparison, only where it was evaluated as the table says.
"""

from __future__ import annotations

from dataclasses import replace

from analysis.records.table import ResultRow
from trainables.config import EvalConfig
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.records.trial_states import TRAINED


def placed(row: ResultRow, evaluation: EvalConfig) -> ResultRow:
    """Return a row of a settled sweep whose trial lacks the table's evaluation with what it was evaluated on.

    A baseline is compared where the scores are reported: there it has all examples.
    """
    if row.summary is not None or row.record is None or row.is_hidden or row.state not in TRAINED:
        return row
    seen = _longest(row.record, evaluation)
    if seen is None:
        return row
    if row.kind == "baseline" and evaluation.test_examples and _examples(seen, "test") == evaluation.test_examples:
        return replace(row, summary=seen, cause=None)
    return replace(row, partial=seen, cause=f"left the race after {_examples(seen, 'validation')} examples")


def _longest(record: TrialRecord, evaluation: EvalConfig) -> EvaluationSummary | None:
    """Return the longest evaluation of a trial that is the table's but for its examples, of test before validation."""
    kept = {"decoding", "max_new_tokens", "metrics"}
    wanted = evaluation.model_dump(mode="json", include=kept)
    found = [one for identity in record.evaluation_ids() if (one := record.summary(identity)) is not None]
    alike = [one for one in found if {name: one.evaluation.get(name) for name in kept} == wanted]
    fitting = [one for one in alike if _examples(one, "validation") <= evaluation.validation_examples]
    return max(fitting, key=lambda one: (_examples(one, "test"), _examples(one, "validation")), default=None)


def _examples(summary: EvaluationSummary, split: str) -> int:
    return int(summary.splits.get(split, {}).get("examples", 0))
