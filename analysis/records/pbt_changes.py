"""Rows that population-based training changed in mid-training: they stand for no fixed configuration (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.records.table import ResultRow, ResultTable
from trainables.records.lineage import sentence

MOST_TOLD = 3  # changes of a row that are told; all are in its lineage.jsonl
MOST_ROWS_TOLD = 8


def aside(rows: Iterable[ResultRow]) -> str:
    """Return ', changed in training' where that happened to any of these rows, else nothing."""
    return ", changed in training" if any(row.values.get("changes") for row in rows) else ""


def changed(table: ResultTable) -> list[str]:
    """Say which rows were changed, how, and what therefore their scores, curves and effects are not."""
    rows = [row for row in table.rows if row.values.get("changes")]
    if not rows:
        return []
    by_seed = "seed" in table.axes or len({row.name for row in table.rows}) < len(table.rows)
    said = [_told(row, row.label if by_seed else row.name) for row in rows[:MOST_ROWS_TOLD]]
    if len(rows) > MOST_ROWS_TOLD:
        said.append(
            f"{len(rows) - MOST_ROWS_TOLD} more rows were changed likewise; their lineage.jsonl has each change."
        )
    one = len(rows) == 1
    said.append(
        f"{'This row stands' if one else 'These rows stand'} for no fixed configuration: "
        f"{'its learning curve includes' if one else 'their learning curves include'} the donors' training, effects "
        "and differences compare where trials began, and another run would change others."
    )
    return said


def _told(row: ResultRow, name: str) -> str:
    assert row.record is not None
    lineage = row.record.lineage()
    told = [sentence(line) for line in lineage[:MOST_TOLD]]
    if len(lineage) > MOST_TOLD:
        told.append(f"{len(lineage) - MOST_TOLD} more")
    count = "once" if len(lineage) == 1 else f"{len(lineage)} times"
    return f"{name} was changed {count} by population-based training ({'; '.join(told)})."
