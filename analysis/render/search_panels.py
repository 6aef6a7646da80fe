"""The tables of a search as grids of text: what matters, what more points bring."""

from __future__ import annotations

from analysis.findings.findings import Findings
from analysis.findings.searches.importance import WARNING
from analysis.findings.sentences import title_of, value_of
from analysis.format.cells import NOTHING
from analysis.render.text_grids import Head, TextGrid


def search_grids(findings: Findings) -> list[tuple[str, TextGrid]]:
    """Return the tables of a search as (title, grid), those with rows alone; none for a grid."""
    named = [
        ("What matters in the search", importance_grid(findings)),
        ("Expected best of n draws", draws_grid(findings)),
    ]
    return [(title, grid) for title, grid in named if grid.rows]


def importance_grid(findings: Findings) -> TextGrid:
    """Return the importance of each axis of a search."""
    heads = (
        Head("axis", is_number=False),
        Head("importance", about=WARNING.removesuffix(".")),
        Head("95% interval"),
    )
    rows = tuple(
        (one.axis.replace("_", " "), f"{100 * one.importance:.0f}%", f"[{100 * one.low:.0f}%, {100 * one.high:.0f}%]")
        for one in findings.importance
    )
    return TextGrid(heads, rows, ("",) * len(rows))


def draws_grid(findings: Findings) -> TextGrid:
    """Return the expected best of 1, 2, 4, ... draws of a search."""
    found = findings.comparison
    heads = (
        Head("draws"),
        Head(f"expected best {found.table.selection_split} {title_of(found.metric)}"),
        Head("95% interval", about="95% interval: of points drawn anew; not stated where so many cannot tell"),
    )
    curve = findings.expected_best
    shown = [one for one in curve if one.draws & (one.draws - 1) == 0 or one.draws == len(curve)]
    rows = []
    for one in shown:
        interval = NOTHING
        if one.low is not None and one.high is not None:
            interval = f"[{value_of(found.metric, one.low)}, {value_of(found.metric, one.high)}]"
        rows.append((str(one.draws), value_of(found.metric, one.score), interval))
    return TextGrid(heads, tuple(rows), ("",) * len(rows))
