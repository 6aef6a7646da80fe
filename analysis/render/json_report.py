"""A comparison for programs as JSON: `Report` is what `--json` prints, scores in points and losses in nats per token.

Two runs of the same sweep on the same machine give the same report in everything but the timing columns.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SerializationInfo

from analysis.comparison.comparison import Difference
from analysis.findings.across_sweeps import Across
from analysis.findings.baselines import BaselineTest
from analysis.findings.effects import Effect, EffectShare
from analysis.findings.findings import Findings
from analysis.findings.winner import AgainstBest, Winner
from analysis.render.csv_tables import all_columns
from analysis.render.score_units import cell_in_unit, finding_in_unit, in_unit, scores_in_unit
from trainables.config import EvalConfig
from trainables.metric_table import metric_of

REPORT_SCHEMA_VERSION = 2  # 1 had scores as fractions


def _with(*properties: str) -> PlainSerializer:
    """Return how a finding is written: its scores in their unit, and what it amounts to, which properties say."""

    def write(one: Any, info: SerializationInfo[dict[str, str]]) -> dict[str, Any]:
        metric = info.context["metric"] if info.context else ""
        return {**finding_in_unit(one, metric), **{name: getattr(one, name) for name in properties}}

    return PlainSerializer(write)


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
    winner: Annotated[Winner, _with()] | None
    against_best: tuple[Annotated[AgainstBest, _with()], ...]
    effects: tuple[Annotated[Effect, _with()], ...]
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
    unit: str  # of the metric that decides
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
        return dict(plain(self.model_dump(by_alias=True, context={"metric": self.metric})))


def report_of(findings: Findings) -> Report:
    """Return the report of a comparison and its findings."""
    found = findings.comparison
    table, best, trial = found.table, found.best, found.best_trial
    columns = all_columns(found)
    labels = tuple(row.label for row in best.rows) if best else ()
    return Report(
        experiment=table.experiment,
        model=table.model,
        data=table.data,
        banner=table.banner,
        eval_id=table.eval_id,
        evaluation=table.evaluation,
        metric=found.metric,
        unit=metric_of(found.metric).unit,
        selection_split=table.selection_split,
        split=table.split,
        signatures=table.signatures,
        rows=tuple({one.name: cell_in_unit(row.values.get(one.name), one) for one in columns} for row in table.rows),
        best=BestConfiguration(
            name=best.name, labels=labels, trial=trial.label, selection=in_unit(best.selection, found.metric)
        )
        if best and trial
        else None,
        ranking=tuple(
            RankedConfiguration(
                name=one.name,
                seeds=len(one.rows),
                selection=in_unit(one.selection, found.metric),
                spread=None if one.spread is None else in_unit(one.spread, found.metric),
            )
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


def across_document(found: Across) -> dict[str, Any]:
    """Return several sweeps side by side as JSON values, scores in their units."""
    entries = [{**finding_in_unit(one, found.metric), "scores": scores_in_unit(one.scores)} for one in found.entries]
    return {**finding_in_unit(found, found.metric), "unit": metric_of(found.metric).unit, "entries": entries}


def plain(value: Any) -> Any:
    """Return a value with null for numbers that are not finite, as strict JSON wants it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
