"""The tables for people as grids of text, for terminal and Markdown alike: what is shown, and what fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from analysis.comparison.comparison import Comparison
from analysis.findings.sentences import describe, interval_of, value_of
from analysis.format.cells import NOTHING, cell
from analysis.format.terminal import cell_len
from analysis.render.csv_tables import all_columns
from analysis.render.row_order import shown_rows
from trainables.metric_table import metric_of
from trainables.records.trial_states import TrialState
from trainables.visible_text import visible, visible_line

WINNERS = ("best", "pareto")  # marks of what to keep


@dataclass(frozen=True)
class Head:
    """Head of a column: where width is short the highest rank goes first, rank 0 never."""

    title: str
    rank: int = 0
    is_number: bool = True
    about: str = ""  # what it means, for the line under the table


@dataclass(frozen=True)
class TextGrid:
    """Heads and rows of text; `kinds` says what each row is, for its color, `section_ends` where a section ends."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]
    section_ends: tuple[int, ...] = ()
    left_out: int = 0  # rows that are in the report's files alone

    @property
    def legend(self) -> str:
        """What the heads mean that do not say it themselves, and what is left out, in one line; may be empty."""
        said = "; ".join(head.about for head in self.heads if head.about)
        more = (
            f"The first {len(self.rows)} of {len(self.rows) + self.left_out}; all are in comparison.md of the report."
        )
        parts = [f"{said}." if said else "", more if self.left_out else ""]
        return " ".join(filter(None, parts)) if self.rows else ""

    def width(self, gap: int) -> int:
        """Return the columns of a terminal that the grid takes with `gap` between its own."""
        total = gap * (len(self.heads) - 1)
        for index, head in enumerate(self.heads):
            texts = [*visible(head.title).split("\n"), *(visible_line(row[index]) for row in self.rows)]
            total += max(map(cell_len, texts))
        return total

    def without(self, index: int) -> TextGrid:
        rows = tuple(row[:index] + row[index + 1 :] for row in self.rows)
        return replace(self, heads=self.heads[:index] + self.heads[index + 1 :], rows=rows)


def fit_to_width(grid: TextGrid, width: int, gap: int = 1) -> tuple[TextGrid, list[str]]:
    """Leave out the least important columns until the grid fits; return it and the titles of what was left out."""
    dropped: list[str] = []
    while grid.width(gap) > width:
        index = max(range(len(grid.heads)), key=lambda place: (grid.heads[place].rank, place))
        if not grid.heads[index].rank:
            break
        dropped.append(one_line(grid.heads[index].title))
        grid = grid.without(index)
    return grid, dropped[::-1]


def main_grid(found: Comparison, most: int | None = None) -> TextGrid:
    """Return the table without columns that hold nothing; of a search the best first, and no more than `most`."""
    rows = shown_rows(found, most).rows
    heads, cells = [], []
    for column in all_columns(found):
        values = [row.values.get(column.name) for row in rows]
        is_needed = column.name in ("mark", "name", "state") or any(value is not None for value in values)
        if column.rank is None or not is_needed:
            continue
        is_number = not any(isinstance(value, (str, tuple)) for value in values)
        heads.append(Head(column.title, column.rank, is_number))
        cells.append([cell(value, column.style) for value in values])
    kinds = ["best" if row.values.get("mark") in WINNERS else row.state or row.kind for row in rows]
    kinds = [row.kind if kind == TrialState.DONE else kind for row, kind in zip(rows, kinds, strict=True)]
    ends = [index for index, (one, other) in enumerate(pairwise(rows)) if one.kind != other.kind]
    return TextGrid(tuple(heads), tuple(zip(*cells, strict=True)), tuple(kinds), tuple(ends))


def difference_grid(found: Comparison) -> TextGrid:
    """Return the differences between the best configuration and what it must beat."""
    best = found.best.name if found.best else ""
    heads = (
        Head("against", is_number=False),
        Head("by", 1, is_number=False),
        Head(best, 2),
        Head("it", 3),
        Head(f"{best} minus it"),
        Head("95% interval"),
        Head("detects from", 4, about="detects from: the smallest true difference found with 80% power"),
        Head("verdict", is_number=False),
    )
    rows = []
    for one in found.differences:
        name = f"{one.against} (runner-up)" if one.role == "runner-up" else one.against
        difference = value_of(one.metric, one.paired.mean, sign=True)
        scores = (value_of(one.metric, one.best), value_of(one.metric, one.other), difference, interval_of(one))
        by = metric_of(one.metric).short
        detectable = value_of(one.metric, one.detectable) if one.paired.has_interval else NOTHING
        rows.append((name, by, *scores, detectable, one.verdict))
    return TextGrid(heads, tuple(rows), tuple(one.verdict for one in found.differences))


def seed_grid(found: Comparison) -> TextGrid:
    """Return the ranking by the mean over seeds; no rows where every configuration has one."""
    metric = found.metric
    score = f"{found.table.selection_split} {metric_of(metric).short}"
    heads = (
        Head("place"),
        Head("name", is_number=False),
        Head("seeds", 1, is_number=False),
        Head(score),
        Head("SD over seeds", 2),
        Head("configuration", 3, is_number=False),
    )
    rows = []
    for place, one in enumerate(found.ranking, start=1):
        spread = NOTHING if one.spread is None else value_of(metric, one.spread)
        seeds = f"{len(one.rows)} of {one.requested}"
        values = (seeds, value_of(metric, one.selection), spread)
        rows.append((str(place), one.name, *values, describe(one, found.table)))
    if all(one.requested == 1 for one in found.ranking):
        rows = []
    return TextGrid(heads, tuple(rows), ("",) * len(rows))


def one_line(text: str) -> str:
    """Return the title of a column in one line."""
    return text.replace("-\n", "").replace("\n", " ").strip()
