"""Configurations and baselines over their seeds, and their ranking by a metric."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.records.table import ResultRow, ResultTable
from trainables.config import BASELINE_FIELDS, NOT_WEIGHTS
from trainables.metric_table import LOWER_IS_BETTER
from trainables.records.trial_states import TRAINED


@dataclass(frozen=True)
class Candidate:
    """A configuration (or baseline) over its seeds: `selection` is its mean score where the choice is made."""

    name: str
    rows: tuple[ResultRow, ...]
    requested: int
    selection: float
    spread: float | None  # SD of `selection` over seeds

    @property
    def row(self) -> ResultRow:
        return self.rows[0]


def candidates(rows: Iterable[ResultRow], split: str, metric: str) -> list[Candidate]:
    """Gather the seeds of each configuration; what has not finished, or is not finite, is no candidate."""
    groups: dict[Any, list[ResultRow]] = {}
    for row in rows:
        if row.train is not None:
            groups.setdefault(_without_seed(row), []).append(row)
    found = []
    for seeds in groups.values():
        scored = {row.label: row.mean(split, metric) for row in seeds if row.state in TRAINED}
        kept = [row for row in seeds if (value := scored.get(row.label)) is not None and math.isfinite(value)]
        values = [value for row in kept if (value := scored[row.label]) is not None]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else None
            mean = math.fsum(values) / len(values)
            found.append(Candidate(kept[0].name, tuple(kept), len(seeds), mean, spread))
    return found


def rank(found: Iterable[Candidate], metric: str) -> list[Candidate]:
    """Return candidates from best to worst; equal ones in their order in the table (see `Comparison.tied`)."""
    return sorted(found, key=lambda candidate: sort_key(candidate.selection, metric))


def first_rows(table: ResultTable, ranking: Sequence[Candidate], most: int) -> list[ResultRow]:
    """Return the finished trials of configurations, the `most` best by the ranking where there are more, in order."""
    rows = [row for row in table.of_kind("configuration") if row.summary and row.record]
    if len(rows) <= most:
        return rows
    order = {row.label: place for place, one in enumerate(ranking) for row in one.rows}
    kept = {row.label for row in sorted(rows, key=lambda row: order.get(row.label, len(rows)))[:most]}
    return [row for row in rows if row.label in kept]


def baseline_of(table: ResultTable, candidate: Candidate, metric: str) -> Candidate | None:
    """Return the baseline that reads the same prompt with the same model; None where it has not finished."""
    same = [row for row in table.of_kind("baseline") if row.train and _reads(row) == _reads(candidate.row)]
    found = candidates(same, table.split, metric)
    return found[0] if found else None


def sort_key(value: float | None, metric: str) -> float:
    """Return what sorts scores from best to worst; what is not finite comes last."""
    if value is None or not math.isfinite(value):
        return math.inf
    return value if metric in LOWER_IS_BETTER else -value


def _without_seed(row: ResultRow) -> str:
    assert row.train is not None
    return row.train.model_dump_json(exclude={"seed", "tokenization", *NOT_WEIGHTS})


def _reads(row: ResultRow) -> tuple[Any, ...]:
    return tuple(getattr(row.train, name) for name in BASELINE_FIELDS)
