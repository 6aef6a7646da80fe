"""How a trial stands, and what each state allows; the values are those in `result.json` (no torch)."""

from __future__ import annotations

from enum import StrEnum


class TrialState(StrEnum):
    """How a trial stands; all but `PENDING` are written in its result."""

    PENDING = "pending"  # no result yet
    DONE = "done"  # all of its steps
    STOPPED = "stopped"  # early, by a scheduler
    FAILED = "failed"
    DIVERGED = "diverged"  # its loss was not finite
    OOM = "oom"  # it did not fit in memory


ENDED = frozenset(TrialState) - {TrialState.PENDING}
"""States with a result."""

TRAINED = frozenset({TrialState.DONE, TrialState.STOPPED})
"""States with weights to keep: they are evaluated, may be the best, and are not trained again."""

FAILURES = ENDED - TRAINED
"""States by a trial's own fault: a run takes them up again only if it is told to, and ends with exit code 1."""
