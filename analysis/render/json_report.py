"""A comparison for programs as JSON: `Report` is what `--json` prints, scores as fractions.

Two runs of the same sweep on the same machine give the same report in everything but the timing columns.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from analysis.comparison.comparison import Difference
from analysis.findings.baselines import BaselineTest
from analysis.findings.effects import Effect, EffectShare
from analysis.findings.findings import Findings
from analysis.findings.winner import AgainstBest, Winner
from analysis.render.csv_tables import all_columns
from trainables.config import EvalConfig

REPORT_SCHEMA_VERSION = 1


def _with(*properties: str) -> PlainSerializer:
    """Return how a frozen dataclass is written that has what it amounts to in properties."""
    return PlainSerializer(lambda one: {**asdict(one), **{name: getattr(one, name) for name in properties}})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class BestConfiguration(_Part):
    """The configuration to keep: the labels of its trials, and `trial`, whose adapter is the one to export."""

    name: str
    labels: tuple[str, ...]
    trial: str
    selection: float  # its mean score where the choice is made


class RankedConfiguration(_Part):
    """A configuration in the order of the choice; `spread` is the SD of `selection` over its seeds."""

    name: str
    seeds: int
    selection: float
    spread: float | None


class ReportedFindings(_Part):
    """What tests, winner and effects say, by the metric that decides."""

    against_baselines: tuple[Annotated[BaselineTest, _with("has_star", "verdict")], ...]
    winner: Winner | None
    against_best: tuple[AgainstBest, ...]
    effects: tuple[Effect, ...]
    shares: tuple[EffectShare, ...]
    notes: dict[str, list[str]]  # by configuration
    sentences: list[str]


class Report(_Part):
    """The comparison of one sweep under one evaluation; `rows` hold a value for each column of the CSV."""

    schema_version: int = Field(default=REPORT_SCHEMA_VERSION, alias="schema")
    experiment: str
    model: str
    data: str
    banner: str | None
    eval_id: str
    evaluation: EvalConfig
    metric: str
    selection_split: str
    split: str
    signatures: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    best: BestConfiguration | None
    ranking: tuple[RankedConfiguration, ...]
    differences: tuple[Annotated[Difference, _with("verdict")], ...]
    findings: ReportedFindings
    references: dict[str, str]  # what each reference row is, by name
    sentences: list[str]

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values, what is not a number as null."""
        return dict(plain(self.model_dump(by_alias=True)))


def report_of(findings: Findings) -> Report:
    """Return the report of a comparison and its findings."""
    found = findings.comparison
    table, best, trial = found.table, found.best, found.best_trial
    names = [column.name for column in all_columns(found)]
    labels = tuple(row.label for row in best.rows) if best else ()
    return Report(
        experiment=table.experiment,
        model=table.model,
        data=table.data,
        banner=table.banner,
        eval_id=table.eval_id,
        evaluation=table.evaluation,
        metric=found.metric,
        selection_split=table.selection_split,
        split=table.split,
        signatures=table.signatures,
        rows=tuple({name: row.values.get(name) for name in names} for row in table.rows),
        best=BestConfiguration(name=best.name, labels=labels, trial=trial.label, selection=best.selection)
        if best and trial
        else None,
        ranking=tuple(
            RankedConfiguration(name=one.name, seeds=len(one.rows), selection=one.selection, spread=one.spread)
            for one in found.ranking
        ),
        differences=found.differences,
        findings=ReportedFindings(
            against_baselines=findings.tests,
            winner=findings.winner,
            against_best=findings.against_best,
            effects=findings.effects,
            shares=findings.shares,
            notes=findings.notes,
            sentences=findings.sentences,
        ),
        references={reference.name: reference.about for reference in found.references},
        sentences=findings.conclusions,
    )


def plain(value: Any) -> Any:
    """Return a value with null for numbers that are not finite, as strict JSON wants it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
