"""Scores in files: in the unit that people read, points from 0 to 100, and losses in nats per token.

Findings hold fractions from 0 to 1, as records do. What is no score stays as it is: counts, p, and shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from analysis.comparison.comparison import Difference
from analysis.findings.across_sweeps import SweepDifference, SweepEntry
from analysis.findings.baselines import BaselineTest
from analysis.findings.effects import Effect
from analysis.findings.searches.draws import ExpectedBest
from analysis.findings.searches.progress import SearchStep
from analysis.findings.winner import AgainstBest, ConfigurationCost, Frequency, Winner
from analysis.format.columns import Column
from analysis.statistics.paired import Paired
from analysis.statistics.racing import Look, Race, Standing
from trainables.metric_table import metric_of

DIGITS = 10  # after the point: what follows may differ between processors

SCORES: Mapping[type, tuple[str, ...]] = {
    Paired: ("mean", "low", "high", "sd"),
    Difference: ("best", "other", "detectable"),
    BaselineTest: (
        *("score", "baseline_score", "difference", "low", "high", "sd", "detectable", "margin"),
        *("run_sd", "run_low", "run_high"),
    ),
    Frequency: ("selection",),
    ConfigurationCost: ("selection", "difference", "standard_error"),
    Winner: (
        *("raw", "corrected", "estimate", "low", "high", "detectable"),
        *("difference", "difference_low", "difference_high"),
    ),
    AgainstBest: ("difference", "low", "high"),
    ExpectedBest: ("score", "low", "high"),
    SearchStep: ("score", "best"),
    Effect: ("effect", "low", "high", "run_low", "run_high"),
    SweepEntry: ("selection",),
    Race: ("margin",),
    Look: ("margin", "settled"),
    Standing: ("difference", "at_most"),
    SweepDifference: ("difference", "low", "high"),
}
"""The fields of each finding that hold scores, differences of scores, or their spread."""


def in_unit(value: float, metric: str) -> float:
    """Return a score in the unit of its metric."""
    scale = metric_of(metric).scale
    return value if scale == 1 else round(scale * value, DIGITS)


def scores_in_unit(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return scores by name, each in the unit of its metric."""
    return {name: None if value is None else in_unit(value, name) for name, value in scores.items()}


def finding_in_unit(finding: Any, metric: str) -> dict[str, Any]:
    """Return a finding as a dictionary, its scores in the unit of its own metric, or of `metric` where it has none."""
    metric = getattr(finding, "metric", metric)
    scores = SCORES.get(type(finding), ())
    return {
        one.name: in_unit(value, metric) if one.name in scores and value is not None else _inside(value, metric)
        for one in fields(finding)
        for value in (getattr(finding, one.name),)
    }


def cell_in_unit(value: Any, column: Column) -> Any:
    """Return a value of a table's row, a score of text in points."""
    return round(100 * value, DIGITS) if column.style == "points" and isinstance(value, float) else value


def _inside(value: Any, metric: str) -> Any:
    if is_dataclass(value):
        return finding_in_unit(value, metric)
    if isinstance(value, tuple):
        return tuple(_inside(one, metric) for one in value)
    return value
