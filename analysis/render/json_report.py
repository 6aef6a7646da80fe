"""A comparison for programs as JSON: `Report` is what `--json` prints, scores in points and losses in nats per token.

Two runs of the same sweep on the same machine give the same report in everything but the timing columns.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SerializationInfo

from analysis.comparison.comparison import Comparison, Difference
from analysis.comparison.pareto import objective_values
from analysis.findings.across_sweeps import Across
from analysis.findings.baselines import BaselineTest
from analysis.findings.effects import Effect, EffectShare
from analysis.findings.findings import Findings
from analysis.findings.searches.bounds import AtBound
from analysis.findings.searches.draws import ExpectedBest
from analysis.findings.searches.importance import Importance
from analysis.findings.searches.progress import SearchStep
from analysis.findings.winner import AgainstBest, Winner
from analysis.render.csv_tables import all_columns
from analysis.render.score_units import cell_in_unit, finding_in_unit, in_unit, scores_in_unit
from analysis.statistics.racing import Race
from search_spaces.search import as_json
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


class ParetoConfiguration(_Part):
    """A configuration that no other one beats in all objectives; `values` by objective, scores in their units."""

    name: str
    trial: str
    values: dict[str, float]


class ReportedSearch(_Part):
    """A search: its space as sweep.json has it, what ran it, and what it allows one to say, scores in their units."""

    space: dict[str, Any]
    sampler: str
    reason: str
    infeasible: tuple[dict[str, Any], ...]
    importance: tuple[Importance, ...]
    expected_best: tuple[Annotated[ExpectedBest, _with()], ...]
    progress: tuple[Annotated[SearchStep, _with()], ...]
    bounds: tuple[AtBound, ...]


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
    best: BestConfiguration | None  # None too where several objectives have no single best
    pareto: tuple[ParetoConfiguration, ...]  # with several objectives, in the order of the first
    search: ReportedSearch | None
    ranking: tuple[RankedConfiguration, ...]
    differences: tuple[Annotated[Difference, _with("verdict")], ...]
    findings: ReportedFindings
    race: Annotated[Race, _with()] | None  # of a sweep with --settle
    race_texts: tuple[int, int] | None  # that it wrote, and that all trials on all examples would have
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
        if best and trial and not found.front
        else None,
        pareto=_pareto(found),
        search=_search(findings),
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
        race=table.race.race if table.race else None,
        race_texts=(table.race.texts, table.race.texts_of_all) if table.race else None,
        references={reference.name: reference.about for reference in found.references},
        sentences=findings.conclusions,
    )


def _pareto(found: Comparison) -> tuple[ParetoConfiguration, ...]:
    objectives = found.table.search.objectives if found.table.search else ()
    rows = []
    for one in found.front:
        values = objective_values(one, objectives, found.table.selection_split) or ()
        named = {
            objective.label: value if objective.is_cost else in_unit(value, objective.name)
            for objective, value in zip(objectives, values, strict=True)
        }
        rows.append(ParetoConfiguration(name=one.name, trial=one.row.label, values=named))
    return tuple(rows)


def _search(findings: Findings) -> ReportedSearch | None:
    search = findings.comparison.table.search
    if search is None:
        return None
    return ReportedSearch(
        space=as_json(search.space),
        sampler=search.sampler,
        reason=search.reason,
        infeasible=search.infeasible,
        importance=findings.importance,
        expected_best=findings.expected_best,
        progress=findings.progress,
        bounds=findings.bounds,
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
