"""The one rule by which nothing is left to do for a trial (no torch)."""

from __future__ import annotations

from pathlib import Path

from trainables.jobs import TrialJob
from trainables.records.damage import adapter_is_whole
from trainables.records.record import TrialRecord


def is_finished(job: TrialJob) -> bool:
    """Tell whether a trial has a result and, unless it failed, a whole adapter and its evaluation."""
    record = TrialRecord(Path(job.folder))
    result = record.result()
    if result is None:
        return False
    if not result.is_trained:
        return True
    return adapter_is_whole(record) and not record.needs_evaluation(job.trial.eval_id)
