"""A comparison for programs: CSV and JSON.

Two runs of the same sweep on the same machine give the same bytes in everything but the timing columns: fixed order,
fixed rounding, no dates.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from analysis.comparison.comparison import Comparison
from analysis.findings.baselines import BaselineTest
from analysis.findings.findings import Findings
from analysis.format.cells import inert, raw
from analysis.format.columns import Column, of_metric
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
    """Return every configuration against its baseline by every metric as CSV, scores as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [*BaselineTest.__dataclass_fields__, "has_star", "verdict"]
    made = " | ".join(findings.comparison.table.signatures)
    writer.writerow([*names, "signature"])
    for one in findings.every_test:
        writer.writerow([*(_plain(getattr(one, name)) for name in names), inert(made)])
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Write a number with ten digits: what follows may differ between processors."""
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, float):
        return f"{value:.10g}" if math.isfinite(value) else ""
    return "" if value is None else value


def to_document(findings: Findings) -> dict[str, Any]:
    """Return the comparison as JSON values: scores as fractions, what is not a number as null."""
    found = findings.comparison
    table, best = found.table, found.best
    columns = all_columns(found)
    trial = found.best_trial
    document = {
        "experiment": table.experiment,
        "model": table.model,
        "data": table.data,
        "banner": table.banner,
        "eval_id": table.eval_id,
        "evaluation": table.evaluation.model_dump(mode="json"),
        "metric": found.metric,
        "selection_split": table.selection_split,
        "split": table.split,
        "signatures": list(table.signatures),
        "rows": [{column.name: row.values.get(column.name) for column in columns} for row in table.rows],
        "best": {
            "name": best.name,
            "labels": [row.label for row in best.rows],
            "trial": trial.label,
            "selection": best.selection,
        }
        if best and trial
        else None,
        "ranking": [
            {"name": one.name, "seeds": len(one.rows), "selection": one.selection, "spread": one.spread}
            for one in found.ranking
        ],
        "differences": [{**asdict(one), "verdict": one.verdict} for one in found.differences],
        "findings": _findings(findings),
        "references": {reference.name: reference.about for reference in found.references},
        "sentences": findings.conclusions,
    }
    return dict(plain(document))


def _findings(known: Findings) -> dict[str, Any]:
    return {
        "against_baselines": [{**asdict(one), "has_star": one.has_star, "verdict": one.verdict} for one in known.tests],
        "winner": asdict(known.winner) if known.winner else None,
        "against_best": [asdict(one) for one in known.against_best],
        "effects": [asdict(one) for one in known.effects],
        "shares": [asdict(one) for one in known.shares],
        "notes": known.notes,
        "sentences": known.sentences,
    }


def plain(value: Any) -> Any:
    """Return a value with null for numbers that are not finite, as strict JSON wants it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
