"""The order of the rows for people: of a search the best first, of a grid as declared."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.comparison import Comparison
from analysis.findings.searches.points import is_search
from analysis.records.table import ResultRow

MOST_ROWS = 20  # configurations of a search in a terminal and in LaTeX; the page, Markdown and CSV have all


@dataclass(frozen=True)
class ShownRows:
    """The rows to show, and how many configurations are left out."""

    rows: tuple[ResultRow, ...]
    left_out: int = 0


def shown_rows(found: Comparison, most: int | None = None) -> ShownRows:
    """Return all rows of a grid as they are; of a search the `most` best configurations, and its Pareto set."""
    rows = found.table.rows
    if not is_search(found):
        return ShownRows(rows)
    place = {row.label: number for number, one in enumerate(found.ranking) for row in one.rows}
    others = [row for row in rows if row.kind != "configuration"]
    ordered = sorted(found.table.of_kind("configuration"), key=lambda row: place.get(row.label, len(place)))
    front = {row.label for one in found.front for row in one.rows}
    kept = [row for number, row in enumerate(ordered) if most is None or number < most or row.label in front]
    return ShownRows((*others, *kept), len(ordered) - len(kept))


def left_out_line(shown: ShownRows, found: Comparison) -> str:
    """Say where the rest of the rows is; empty where all are shown."""
    if not shown.left_out:
        return ""
    total = len(found.table.of_kind("configuration"))
    where = f"report/comparison{found.ending}.md and .csv"
    return f"The best first; {shown.left_out} more of the {total} configurations are in {where}."
