"""A comparison for programs as CSV.

Two runs of the same sweep on the same machine give the same bytes in everything but the timing columns: fixed order,
fixed rounding, no dates.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from analysis.comparison.comparison import Comparison
from analysis.findings.baselines import BaselineTest
from analysis.findings.findings import Findings
from analysis.format.cells import inert, raw
from analysis.format.columns import Column, of_metric
from analysis.render.score_units import finding_in_unit
from trainables.metric_table import DEFAULT, metric_of


def all_columns(found: Comparison) -> list[Column]:
    """Return all columns, with the scores of another metric than ROUGE-L where that decides."""
    columns = _with_deciding(found.table.columns(), found.metric)
    if found.table.split == found.table.selection_split or found.metric == DEFAULT:
        return columns
    own = of_metric(metric_of(found.metric), "validation", 0)
    columns = [column for column in columns if column.name != own.name]
    place = [column.name for column in columns].index(f"validation_{DEFAULT}")
    return [*columns[: place + 1], own, *columns[place + 1 :]]


def _with_deciding(columns: list[Column], metric: str) -> list[Column]:
    """Return the columns with the metric that decides among those for people, where it is for programs alone."""
    own = next((column for column in columns if column.name == metric), None)
    if own is None or own.rank is not None:
        return columns
    others = [column for column in columns if column is not own]
    place = [column.name for column in others].index(f"validation_{DEFAULT}")
    return [*others[:place], of_metric(metric_of(metric), rank=0), *others[place:]]


def to_csv(found: Comparison, timing: bool = True) -> str:
    """Return all columns as CSV, scores of text in points; without `timing` what differs between equal runs is out."""
    columns = [column for column in all_columns(found) if timing or not column.is_timing]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([inert(column.name) for column in columns])
    for row in found.table.rows:
        writer.writerow([inert(raw(row.values.get(column.name), column.style)) for column in columns])
    return text.getvalue()


def tests_to_csv(findings: Findings) -> str:
    """Return every configuration against its baseline by every metric as CSV, scores in the column `unit`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    made = " | ".join(findings.comparison.table.signatures)
    writer.writerow([*BaselineTest.__dataclass_fields__, "has_star", "verdict", "unit", "signature"])
    for one in findings.every_test:
        values = (*finding_in_unit(one, one.metric).values(), one.has_star, one.verdict, metric_of(one.metric).unit)
        writer.writerow([*map(_plain, values), inert(made)])
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Write a number with ten digits: what follows may differ between processors."""
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else ""
    return "" if value is None else value
