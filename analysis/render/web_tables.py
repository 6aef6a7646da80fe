"""Tables of a page: cells with the value that they sort by, heads with what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.comparison.comparison import Comparison
from analysis.findings.baselines import STAR, BaselineTest
from analysis.findings.findings import Findings
from analysis.findings.learning import CurveVerdict
from analysis.findings.sentences import title_of, value_of
from analysis.format.cells import NOTHING, cell
from analysis.format.columns import MORE, Column
from analysis.render.behaviour_tables import group_title, panel_title, written
from analysis.render.csv_tables import all_columns
from analysis.render.row_order import shown_rows
from analysis.render.text_grids import WINNERS, TextGrid, one_line
from analysis.statistics.multiple_testing import CORRECTIONS
from analysis.texts.behaviour import MEASURES, Groups, Panel
from trainables.records.trial_states import FAILURES, TrialState
from trainables.units import bytes_in, seconds_in

SORTED_AS_TEXT = ("text", "mark")


@dataclass(frozen=True)
class WebCell:
    """A cell: what is shown, and what it sorts by where that is not the number in it."""

    text: str
    value: str = ""


@dataclass(frozen=True)
class WebHead:
    """The head of a column."""

    title: str
    about: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class WebTable:
    """A table with its caption; `kinds` says what each row is. The first column names the row.

    `legend` stands below it: what heads mean must not need a pointer that hovers.
    """

    name: str
    caption: str
    heads: tuple[WebHead, ...]
    rows: tuple[tuple[WebCell, ...], ...]
    kinds: tuple[str, ...]
    legend: str = ""


def from_grid(name: str, caption: str, grid: TextGrid, titles: dict[str, str] | None = None) -> WebTable:
    """Return a table of text as a table of a page; a column without a title is named by `titles[""]`."""
    known = titles or {}
    heads = tuple(WebHead(known.get(head.title, one_line(head.title)), is_number=head.is_number) for head in grid.heads)
    rows = tuple(tuple(WebCell(text, order_of(text)) for text in row) for row in grid.rows)
    return WebTable(name, caption, heads, rows, grid.kinds, grid.legend)


def order_of(text: str) -> str:
    """Return what a size or a time sorts by, which the number in it does not tell: '1.2 GiB', '2 min 05 s'."""
    value = bytes_in(text)
    value = seconds_in(text) if value is None else value
    return "" if value is None else repr(value)


def main_table(found: Comparison) -> WebTable:
    """Return every row of the comparison with the columns that say something."""
    columns = [column for column in all_columns(found) if column.rank is not None and column.name != "mark"]
    return _table(found, columns, "comparison", "Every row: baselines, references, configurations")


def more_table(found: Comparison) -> WebTable:
    """Return the columns that the main table leaves out."""
    names = ("name", *(column.name for column in MORE if column.style != "text"))
    columns = [column for column in all_columns(found) if column.name in names]
    return _table(found, columns, "more", "More columns: unstemmed scores, ends of texts, sizes")


def panel_table(panel: Panel, found: Comparison) -> WebTable:
    """Return the behaviour panel: a row per system, references and copied turns first."""
    measures = [one for one in MEASURES if one.is_main]
    heads = (WebHead("texts of", is_number=False), *(WebHead(one.title, one.about) for one in measures))
    rows, kinds = [], []
    best = found.best.name if found.best else None
    for system in panel.outputs.systems:
        values = [panel.mean(system.name, one.name) for one in measures]
        cells = [WebCell(written(value, one), _raw(value)) for value, one in zip(values, measures, strict=True)]
        rows.append((WebCell(system.name), *cells))
        is_best = system.row is not None and system.row.name == best and system.kind == "configuration"
        kinds.append("best" if is_best else system.kind)
    return WebTable("behaviour", panel_title(panel), heads, tuple(rows), tuple(kinds))


def group_table(groups: Groups, kinds: dict[str, str]) -> WebTable:
    """Return mean scores by group of examples."""
    heads = [WebHead("texts of", is_number=False)]
    heads += [WebHead(f"{name} (n={size})") for name, size in zip(groups.names, groups.sizes, strict=True)]
    rows = [
        (WebCell(name), *(WebCell(cell(value, "points"), _raw(value)) for value in means))
        for name, means in groups.means.items()
    ]
    of = tuple(kinds.get(name, "") for name in groups.means)
    return WebTable("groups", group_title(groups), tuple(heads), tuple(rows), of)


def verdict_table(verdicts: Sequence[CurveVerdict]) -> WebTable:
    """Return what each trial's own curves say."""
    heads = (
        WebHead("trial", is_number=False),
        WebHead("verdict", is_number=False),
        WebHead("first loss", "the untrained model's where its baseline was evaluated"),
        WebHead("best"),
        WebHead("at step"),
        WebHead("last"),
        WebHead(
            "slope per 10 steps",
            "of a straight line through the later half of the evaluations, with its 95% t interval",
        ),
        WebHead("likely cause", is_number=False),
    )
    rows = []
    for one in verdicts:
        numbers = [WebCell(cell(value, "loss"), _raw(value)) for value in (one.first, one.best, one.last)]
        step = WebCell(NOTHING if one.best_step is None else str(one.best_step))
        slope = NOTHING
        if one.slope is not None and one.low is not None and one.high is not None:
            slope = f"{one.slope:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        rows.append(
            (WebCell(one.name), WebCell(one.verdict), numbers[0], numbers[1], step, numbers[2],
             WebCell(slope, _raw(one.slope)), WebCell(one.cause))
        )  # fmt: skip
    kinds = tuple("failed" if one.verdict in FAILURES else "" for one in verdicts)
    legend = "; ".join(f"{head.title}: {head.about}" for head in heads if head.about)
    return WebTable("verdicts", "What each trial's own curves say", heads, tuple(rows), kinds, f"{legend}.")


def metric_table(findings: Findings) -> WebTable:
    """Return the difference of every configuration to its baseline by every metric."""
    tests = findings.every_test
    metrics = list(dict.fromkeys(one.metric for one in tests))
    by_name: dict[str, dict[str, BaselineTest]] = {}
    for one in tests:
        by_name.setdefault(one.name, {})[one.metric] = one
    heads = (WebHead("configuration", is_number=False), *(WebHead(title_of(metric)) for metric in metrics))
    rows = []
    for name, known in by_name.items():
        rows.append((WebCell(name), *(_metric_cell(known.get(metric)) for metric in metrics)))
    family = f"{CORRECTIONS[findings.comparison.correction]} over the configurations"
    caption = f"Difference from the prompt-matched baseline by every metric († holds after {family})"
    return WebTable("metrics", caption, heads, tuple(rows), ("",) * len(rows))


def _metric_cell(one: BaselineTest | None) -> WebCell:
    if one is None:
        return WebCell(NOTHING)
    star = STAR if one.has_star else ""
    return WebCell(f"{value_of(one.metric, one.difference, True)}{star}", _raw(one.difference))


def _table(found: Comparison, columns: Sequence[Column], name: str, caption: str) -> WebTable:
    rows = shown_rows(found).rows
    kept = [
        column
        for column in columns
        if column.name in ("name", "state") or any(row.values.get(column.name) is not None for row in rows)
    ]
    heads = tuple(
        WebHead(one_line(column.title), is_number=not _is_text([row.values.get(column.name) for row in rows]))
        for column in kept
    )
    cells = tuple(tuple(_cell(row.values.get(column.name), column) for column in kept) for row in rows)
    kinds = ["best" if row.values.get("mark") in WINNERS else row.state or row.kind for row in rows]
    kinds = [row.kind if kind == TrialState.DONE else kind for row, kind in zip(rows, kinds, strict=True)]
    return WebTable(name, caption, heads, cells, tuple(kinds))


def _cell(value: Any, column: Column) -> WebCell:
    text = cell(value, column.style)
    is_number = isinstance(value, (int, float)) and column.style not in SORTED_AS_TEXT
    return WebCell(text, repr(value) if is_number else "")


def _is_text(values: Sequence[Any]) -> bool:
    return any(isinstance(value, (str, tuple, list)) for value in values)


def _raw(value: float | None) -> str:
    return "" if value is None else repr(value)
