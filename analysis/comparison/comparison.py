"""Which configuration to keep, and how far the examples allow one to say so.

The choice is made on validation and reported on test. A configuration is the mean over its seeds, per example. Every
difference is paired by example, under one evaluation: evaluations of different identity are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analysis.comparison.candidates import (
    Candidate,
    baseline_of,
    candidates,
    first_rows,
    rank,
    sort_key,
)
from analysis.comparison.pareto import pareto_set
from analysis.records import deciding_metric
from analysis.records.examples import evaluation_examples
from analysis.records.load import load
from analysis.records.reference_rows import Reference, reference_row, references
from analysis.records.scores import Array, Scores, read_scores
from analysis.records.table import ResultRow, ResultTable
from analysis.statistics.multiple_testing import EQUIVALENCE_MARGIN, fewest_for
from analysis.statistics.paired import FEWEST_EXAMPLES, SAME, Paired, examples_needed, paired, smallest_detectable
from trainables.data.corpus import Example
from trainables.errors import UserError, nearest
from trainables.metric_table import DEFAULT, LOSS, LOWER_IS_BETTER, names_of
from trainables.scoring.metrics import score_names

MOST_TEXTS = 40  # configurations whose texts are kept in memory and shown, the best by the choice


@dataclass(frozen=True)
class Difference:
    """The best configuration minus another row, on the reported split, paired by example."""

    against: str
    role: str  # "baseline", "runner-up", "constant" or "shuffled"
    metric: str
    split: str
    best: float
    other: float
    paired: Paired
    detectable: float  # smallest true difference that so many examples show with 80% power
    needed: int | None  # examples that would show a difference of this size; None: more than ten million
    differing: int  # examples on which the two are unlike
    fewest: int  # examples from which one of as many differences as there are configurations can be significant

    @property
    def verdict(self) -> str:
        """Return 'better', 'worse' or 'cannot tell', as the interval says; 'same' or 'too few' before it."""
        if self.paired.is_same:
            return "same"
        if self.paired.n < self.fewest or (self.paired.is_clear and self.differing < self.fewest):
            return "too few"
        if not self.paired.is_clear:
            return "cannot tell"
        return "better" if (self.paired.mean > 0) != (self.metric in LOWER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class Comparison:
    """The table with its reference rows, the ranking of the configurations, and what can be said of the best."""

    table: ResultTable
    metric: str
    references: tuple[Reference, ...]
    ranking: tuple[Candidate, ...]
    differences: tuple[Difference, ...]
    margin: float = EQUIVALENCE_MARGIN  # within which a difference from a baseline is equivalent
    correction: str = "holm"  # of the differences from baselines, a key of `multiple_testing.CORRECTIONS`
    front: tuple[Candidate, ...] = ()  # the Pareto set of a search with several objectives: it has no single winner
    # Of every finished trial per example, by split; none is here that no true evaluation gives.
    scores: Mapping[str, Scores] = field(default_factory=dict, repr=False, compare=False)
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict, repr=False, compare=False)  # by split

    @property
    def ending(self) -> str:
        """Return what the names of its files end with, so that no other comparison is overwritten; usually nothing."""
        parts = [] if self.table.is_default else [self.table.eval_id]
        parts += [] if self.metric == self.table.metric else [self.metric]
        parts += [] if self.correction == "holm" else [self.correction]
        parts += [] if self.margin == EQUIVALENCE_MARGIN else [f"margin{100 * self.margin:g}"]
        return "".join(f"-{part}" for part in parts)

    @property
    def best(self) -> Candidate | None:
        return self.ranking[0] if self.ranking else None

    @property
    def tied(self) -> tuple[Candidate, ...]:
        """The other configurations that score as the best does where the choice is made."""
        return tuple(one for one in self.ranking[1:] if one.selection == self.ranking[0].selection)

    @property
    def hidden(self) -> tuple[ResultRow, ...]:
        """The configurations that may have a better score than the best: damage keeps it from being read."""
        return tuple(row for row in self.table.of_kind("configuration") if row.is_hidden)

    @property
    def runner_up(self) -> Candidate | None:
        return self.ranking[1] if len(self.ranking) > 1 else None

    @property
    def best_trial(self) -> ResultRow | None:
        """The trial to export: the best configuration's seed with the best score where the choice is made."""
        return self.best_seed(self.best) if self.best else None

    def best_seed(self, candidate: Candidate) -> ResultRow:
        """Return the trial of a configuration with the best score where the choice is made."""
        split, metric = self.table.selection_split, self.metric
        return min(candidate.rows, key=lambda row: sort_key(row.mean(split, metric), metric))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that configurations can be compared by."""
        return (*score_names(self.table.evaluation.metrics), LOSS)


def compare(folder: Path, metric: str | None = None, eval_id: str | None = None) -> Comparison:
    """Compare the configurations of a sweep by `metric` under one evaluation.

    By default the sweep's own metric decides, or chrF where that is a ROUGE which sees no words
    (`analysis.records.deciding_metric`).

    Raises:
        UserError: no sweep there, no such evaluation, an unknown metric, or scores that no evaluation gives.
    """
    table = load(folder, eval_id)
    examples = evaluation_examples(table)
    table = replace(table, metric=deciding_metric.deciding(table, examples))
    return compare_table(table, examples, metric or table.metric)


def compare_table(table: ResultTable, examples: Mapping[str, Sequence[Example]], metric: str) -> Comparison:
    """Compare the rows of a table by `metric`; the table of the result has marks and reference rows."""
    known = [*score_names(table.evaluation.metrics), LOSS]
    if metric not in known:
        raise UserError(f"metric {metric!r} is not in this evaluation; {nearest(metric, known)}")
    ranking = rank(candidates(table.of_kind("configuration"), table.selection_split, metric), metric)
    best = ranking[0] if ranking else None
    # Before anything is computed from them: whoever compares is guarded, not the report alone.
    scores = _read(table, examples, ranking)
    extra = references(table, examples, scores, best.rows if best else (), best.name if best else "")
    front = pareto_set(ranking, table.search.objectives, table.selection_split) if table.search else ()
    differences = _differences(table, metric, ranking, extra, scores[table.split]) if best else []
    if front:  # no winner, so no runner-up
        differences = [one for one in differences if one.role != "runner-up"]
    marked = _marked(table, ranking, front, extra)
    found = Comparison(marked, metric, tuple(extra), tuple(ranking), tuple(differences), front=front)
    return replace(found, scores=scores, examples=examples)


def _read(
    table: ResultTable, examples: Mapping[str, Sequence[Example]], ranking: Sequence[Candidate]
) -> dict[str, Scores]:
    """Read the predictions by split, each file once, with the texts that anything may be computed from."""
    best = ranking[0].rows if ranking else ()
    shown = (*table.of_kind("baseline"), *first_rows(table, ranking, MOST_TEXTS), *best)
    labels = {split: {row.label for row in (shown if split == table.split else best)} for split in examples}
    return {split: read_scores(table, split, examples[split], labels[split]) for split in examples}


def _differences(
    table: ResultTable, metric: str, ranking: Sequence[Candidate], extra: Iterable[Reference], scores: Scores
) -> list[Difference]:
    best = ranking[0]
    found = []
    models = [("runner-up", one) for one in ranking[1:2]]
    if baseline := baseline_of(table, best, metric):
        models.insert(0, ("baseline", baseline))
    for role, other in models:
        if scores.has((*best.rows, *other.rows)):
            found.append(
                _difference(*scores.paired(best.rows, other.rows, metric), other.name, role, metric, table.split)
            )
    # Texts that no model made have no loss and no score of another library: a score of our own compares them.
    names = names_of(table.evaluation.metrics)
    metric = metric if metric in names else names[0] if DEFAULT not in names else DEFAULT
    for reference in extra:
        role = {"constant": "constant", f"{best.name} shuffled": "shuffled"}.get(reference.name, "")
        if role and scores.has(best.rows):
            rows = zip(reference.ids[table.split], reference.scores[table.split], strict=True)
            theirs = scores.in_order({identity: one[metric] for identity, one in rows})
            ours = scores.mean_of_runs(best.rows, metric)
            found.append(_difference(ours, theirs, reference.name, role, metric, table.split))
    fewest = fewest_for(len(ranking))
    return [replace(difference, fewest=fewest) for difference in found if difference]


def _difference(best: Array, other: Array, against: str, role: str, metric: str, split: str) -> Difference | None:
    """Pair scores per example (N,) of the best configuration and another row; None without a shared example."""
    shared = ~(np.isnan(best) | np.isnan(other))
    first, second = best[shared].tolist(), other[shared].tolist()
    values = [ours - theirs for ours, theirs in zip(first, second, strict=True)]
    result = paired(values)
    if result is None:
        return None
    return Difference(
        against=against,
        role=role,
        metric=metric,
        split=split,
        best=math.fsum(first) / len(first),
        other=math.fsum(second) / len(second),
        paired=result,
        detectable=smallest_detectable(result.sd, result.n),
        needed=examples_needed(result.sd, result.mean, seen=result.n),
        differing=sum(abs(value) > SAME for value in values),
        fewest=FEWEST_EXAMPLES,
    )


def _marked(
    table: ResultTable, ranking: Sequence[Candidate], front: Sequence[Candidate], extra: Iterable[Reference]
) -> ResultTable:
    """Return the table with reference rows after the baselines, and marks: best and runner-up, or the Pareto set."""
    marks = {row.label: mark for mark, one in zip(("best", "runner-up"), ranking, strict=False) for row in one.rows}
    if front:
        marks = {row.label: "pareto" for one in front for row in one.rows}
    for row in table.rows:
        row.values["mark"] = marks.get(row.label, "")
    added = [reference_row(table, reference) for reference in extra]
    rows = [*table.of_kind("baseline"), *added, *table.of_kind("configuration")]
    return replace(table, rows=tuple(rows))
