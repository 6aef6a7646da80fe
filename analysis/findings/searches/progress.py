"""How a search went: the best so far, by trials, by tokens trained, and by time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from analysis.comparison.candidates import sort_key
from analysis.comparison.comparison import Comparison
from analysis.findings.searches.points import asked_of, is_search
from analysis.records.table import ResultRow
from trainables.records.trial_states import ENDED, TRAINED


@dataclass(frozen=True)
class SearchStep:
    """The search after one more trial has ended; what is not recorded of every trial so far is None.

    `time_s` is the time in which a trial ran: pauses between commands are left out.
    """

    trials: int
    name: str
    score: float | None  # of this trial, where the choice is made
    best: float | None  # so far
    tokens: int | None
    time_s: float | None


def progress(found: Comparison) -> tuple[SearchStep, ...]:
    """Return the steps of a search in the order in which its trials ended, also those that failed; none for a grid."""
    if not is_search(found):
        return ()
    rows = _in_order([row for row in asked_of(found) if row.state in ENDED])
    times = _times(rows)
    steps: list[SearchStep] = []
    best: float | None = None
    tokens: int | None = 0
    for place, row in enumerate(rows):
        score = row.mean(found.table.selection_split, found.metric) if row.state in TRAINED else None
        score = score if score is not None and math.isfinite(score) else None
        if score is not None and (best is None or sort_key(score, found.metric) < sort_key(best, found.metric)):
            best = score
        own = row.values.get("tokens_trained")
        tokens = None if tokens is None or own is None else tokens + int(own)
        steps.append(SearchStep(place + 1, found.table.name_of(row), score, best, tokens, times[place]))
    return tuple(steps)


def last_gain(steps: Sequence[SearchStep]) -> SearchStep | None:
    """Return the step that brought the best; None where no trial has a score."""
    return next((one for one in steps if one.score is not None and one.score == steps[-1].best), None)


def is_side_by_side(found: Comparison) -> bool:
    """Tell whether every trial began before the first one ended, so that none came after another."""
    rows = [row for row in asked_of(found) if row.state in ENDED]
    starts, ends = ([_moment(row, name) for row in rows] for name in ("started_at", "ended_at"))
    begun, ended = ([time for time in times if time is not None] for times in (starts, ends))
    return len(begun) == len(ended) == len(rows) > 1 and max(begun) < min(ended)


def _in_order(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Return rows as they ended, as they were asked for where one does not say when it ended."""
    ends = [_moment(row, "ended_at") for row in rows]
    if any(end is None for end in ends):
        return list(rows)
    order = sorted(range(len(rows)), key=lambda place: (ends[place] or 0.0, place))
    return [rows[place] for place in order]


def _times(rows: Sequence[ResultRow]) -> list[float | None]:
    """Return for each row the seconds in which a trial ran until its end; None where a row does not say."""
    spans = [(_moment(row, "started_at"), _moment(row, "ended_at")) for row in rows]
    known = [(start, end) for start, end in spans if start is not None and end is not None]
    if len(known) < len(rows):
        return [None] * len(rows)
    busy = merged(known)
    return [math.fsum(min(end, until) - start for start, end in busy if start < until) for _, until in known]


def merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of time as those that do not overlap, in order."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _moment(row: ResultRow, name: str) -> float | None:
    text = row.values.get(name)
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
