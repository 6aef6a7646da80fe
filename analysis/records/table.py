"""The rows of a sweep as one table: one per baseline and configuration, whatever became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.format.columns import AFTER, AXIS_TITLES, BEFORE, CHOICE_EXAMPLES, COLUMNS, MORE, Column, of_metric
from analysis.records.settled import SettledRace
from analysis.records.sweep_search import SweepSearch
from search_spaces.points import Parameters
from trainables.config import EvalConfig, TrainConfig
from trainables.metric_table import metric_of
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.scoring.metrics import score_names, signature


@dataclass(frozen=True)
class ResultRow:
    """One row: `values` by column name, and where they came from (no record for a reference row)."""

    name: str
    label: str
    kind: str  # "baseline", "reference" or "configuration"
    state: str  # a TrialState; empty for a reference row
    cause: str | None = None
    train: TrainConfig | None = None
    values: dict[str, Any] = field(default_factory=dict)
    record: TrialRecord | None = None
    summary: EvaluationSummary | None = None
    damage: str = ""  # which of its files are not as they were written, and how
    is_hidden: bool = False  # by damage: it may have a score that cannot be read any more
    parameters: Parameters | None = None  # of a point of the sweep's search
    partial: EvaluationSummary | None = None  # of one that left a race: on fewer examples, compared with nothing

    def mean(self, split: str, name: str) -> float | None:
        """Return the mean score `name` on `split`, None where it was not evaluated."""
        found = self.summary.splits.get(split, {}).get(name) if self.summary else None
        return None if found is None else float(found)


@dataclass(frozen=True)
class ResultTable:
    """The rows of one evaluation of a sweep, with what stands above and below them."""

    folder: Path
    experiment: str
    model: str
    data: str
    banner: str | None
    metric: str
    eval_id: str
    is_default: bool
    evaluation: EvalConfig
    axes: tuple[str, ...]
    rows: tuple[ResultRow, ...]
    race: SettledRace | None = None  # of a sweep with --settle
    older: int = 0  # trials whose prompts were tokenized in parts: left out, or all of the rows
    search: SweepSearch | None = None  # that chose the configurations, or some of them

    @property
    def split(self) -> str:
        """The split that scores are reported on: test, or the only one there is."""
        return "test" if "test" in self.evaluation.examples else "validation"

    @property
    def selection_split(self) -> str:
        """The split that the choice is made on: validation, or the only one there is."""
        return "validation" if "validation" in self.evaluation.examples else "test"

    @property
    def signatures(self) -> tuple[str, ...]:
        """How the scores were made, as recorded; more than one means that they cannot be compared."""
        recorded = {row.summary.signature: None for row in self.rows if row.summary}
        return tuple(recorded) or (signature(self.evaluation.metrics, self.evaluation),)

    def columns(self) -> list[Column]:
        """Return all columns, with those of what the configurations change between name and scores."""
        axes = [Column(name, AXIS_TITLES.get(name, name.replace("_", "\n")), rank=1) for name in self.axes]
        known = {column.name for column in COLUMNS}
        scores = [name for name in score_names(self.evaluation.metrics) if name not in known]
        counts = {row.values.get(CHOICE_EXAMPLES.name) for row in self.rows} - {None}
        axes += [CHOICE_EXAMPLES] if len(counts) > 1 else []
        return [*BEFORE, *axes, *AFTER, *MORE, *(replace(of_metric(metric_of(name)), rank=None) for name in scores)]

    def name_of(self, row: ResultRow) -> str:
        """Return the name of a trial that no other trial shares."""
        return row.label if "seed" in self.axes else row.name

    def of_kind(self, kind: str) -> list[ResultRow]:
        return [row for row in self.rows if row.kind == kind]
