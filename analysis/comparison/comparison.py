"""Which configuration to keep, and how far the examples allow one to say so.

The choice is made on validation and reported on test. A configuration is the mean over its seeds, per example. Every
difference is paired by example, under one evaluation: evaluations of different identity are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.comparison.candidates import LOWER_IS_BETTER, Candidate, baseline_of, candidates, rank, sort_key
from analysis.records import deciding_metric
from analysis.records.load import load
from analysis.records.reference_rows import Reference, reference_row, references
from analysis.records.scores import Scores, read_scores
from analysis.records.table import Row, Table
from analysis.statistics.multiple_testing import MARGIN, fewest_for
from analysis.statistics.paired import FEWEST, SAME, Paired, examples_needed, paired, smallest_detectable
from trainables.errors import UserError, nearest
from trainables.scoring.metrics import own_score_names, score_names


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

    table: Table
    metric: str
    references: tuple[Reference, ...]
    ranking: tuple[Candidate, ...]
    differences: tuple[Difference, ...]
    margin: float = MARGIN  # within which a difference from a baseline is equivalent
    correction: str = "holm"  # of the differences from baselines, a key of `multiple_testing.CORRECTIONS`
    # Of every finished trial per example, by split; none is here that no true evaluation gives.
    scores: Mapping[str, Scores] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ending(self) -> str:
        """Return what the names of its files end with, so that no other comparison is overwritten; usually nothing."""
        parts = [] if self.table.is_default else [self.table.eval_id]
        parts += [] if self.metric == self.table.metric else [self.metric]
        parts += [] if self.correction == "holm" else [self.correction]
        parts += [] if self.margin == MARGIN else [f"margin{100 * self.margin:g}"]
        return "".join(f"-{part}" for part in parts)

    @property
    def best(self) -> Candidate | None:
        return self.ranking[0] if self.ranking else None

    @property
    def tied(self) -> tuple[Candidate, ...]:
        """The other configurations that score as the best does where the choice is made."""
        return tuple(one for one in self.ranking[1:] if one.selection == self.ranking[0].selection)

    @property
    def hidden(self) -> tuple[Row, ...]:
        """The configurations that may have a better score than the best: damage keeps it from being read."""
        return tuple(row for row in self.table.of_kind("configuration") if row.is_hidden)

    @property
    def runner_up(self) -> Candidate | None:
        return self.ranking[1] if len(self.ranking) > 1 else None

    @property
    def best_trial(self) -> Row | None:
        """The trial to export: the best configuration's seed with the best score where the choice is made."""
        if self.best is None:
            return None
        split, metric = self.table.selection_split, self.metric
        return min(self.best.rows, key=lambda row: sort_key(row.mean(split, metric), metric))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that configurations can be compared by."""
        return (*score_names(self.table.evaluation.metrics), *LOWER_IS_BETTER)


def compare(folder: Path, metric: str | None = None, eval_id: str | None = None) -> Comparison:
    """Compare the configurations of a sweep by `metric` under one evaluation.

    By default the sweep's own metric decides, or chrF where that is a ROUGE which sees no words
    (`analysis.records.deciding_metric`).

    Raises:
        UserError: no sweep there, no such evaluation, an unknown metric, or scores that no evaluation gives.
    """
    table = load(folder, eval_id)
    table = replace(table, metric=deciding_metric.deciding(table))
    return compare_table(table, metric or table.metric)


def compare_table(table: Table, metric: str) -> Comparison:
    """Compare the rows of a table by `metric`; the table of the result has marks and reference rows."""
    known = [*score_names(table.evaluation.metrics), *LOWER_IS_BETTER]
    if metric not in known:
        raise UserError(f"metric {metric!r} is not in this evaluation; {nearest(metric, known)}")
    # Before anything is computed from them: whoever compares is guarded, not the report alone.
    scores = {split: read_scores(table, split) for split in table.evaluation.examples}
    ranking = rank(candidates(table.of_kind("configuration"), table.selection_split, metric), metric)
    best = ranking[0] if ranking else None
    extra = references(table, best.rows if best else (), best.name if best else "")
    differences = _differences(table, metric, ranking, extra) if best else []
    marked = _marked(table, ranking, extra)
    return Comparison(marked, metric, tuple(extra), tuple(ranking), tuple(differences), scores=scores)


def per_example(rows: Iterable[Row], eval_id: str, split: str, metric: str) -> dict[str, tuple[float, float]]:
    """Return (score, weight) of each example, the score being the mean over the trials `rows`.

    The weight is 1 for scores of text. For `eval_loss` the score is the NLL and the weight its tokens, since the loss
    of a corpus is the one's sum over the other's. Examples that any of the trials has no score for are left out.
    """
    every = [_trial_scores(row, eval_id, split, metric) for row in rows]
    shared = [identity for identity in every[0] if all(identity in scores for scores in every)]
    return {
        identity: (math.fsum(scores[identity][0] for scores in every) / len(every), every[0][identity][1])
        for identity in shared
    }


def _trial_scores(row: Row, eval_id: str, split: str, metric: str) -> dict[str, tuple[float, float]]:
    assert row.record is not None
    lines = row.record.predictions(eval_id, split)
    if metric == "eval_loss":
        return {line["id"]: (line["nll"], line["nll_tokens"]) for line in lines if line.get("nll") is not None}
    return {line["id"]: (line["scores"][metric], 1) for line in lines}


def _differences(table: Table, metric: str, ranking: list[Candidate], extra: Iterable[Reference]) -> list[Difference]:
    best = ranking[0]
    names = own_score_names(table.evaluation.metrics)
    found = []
    models = [("runner-up", one) for one in ranking[1:2]]
    if baseline := baseline_of(table, best, metric):
        models.insert(0, ("baseline", baseline))
    for role, other in models:
        theirs = per_example(other.rows, table.eval_id, table.split, metric)
        found.append(_difference(table, best, other.name, role, metric, theirs))
    # Texts that no model made have no loss and no score of another library: a score of our own compares them.
    metric = metric if metric in names else names[0] if "rougeL" not in names else "rougeL"
    for reference in extra:
        if role := {"constant": "constant", f"{best.name} shuffled": "shuffled"}.get(reference.name, ""):
            rows = zip(reference.ids[table.split], reference.scores[table.split], strict=True)
            theirs = {identity: (scores[metric], 1.0) for identity, scores in rows}
            found.append(_difference(table, best, reference.name, role, metric, theirs))
    fewest = fewest_for(len(ranking))
    return [replace(difference, fewest=fewest) for difference in found if difference]


def _difference(
    table: Table, best: Candidate, name: str, role: str, metric: str, theirs: dict[str, tuple[float, float]]
) -> Difference | None:
    """Pair the best configuration with another row; None without shared examples, or where their tokens differ."""
    ours = per_example(best.rows, table.eval_id, table.split, metric)
    shared = [identity for identity in ours if identity in theirs]
    weight = math.fsum(ours[identity][1] for identity in shared)
    if not shared or any(ours[identity][1] != theirs[identity][1] for identity in shared):
        return None
    # Scaled so that the mean over examples is the score of the corpus, for the loss too.
    first, second = ([scores[one][0] * len(shared) / weight for one in shared] for scores in (ours, theirs))
    values = [a - b for a, b in zip(first, second, strict=True)]
    result = paired(values)
    assert result is not None
    return Difference(
        against=name,
        role=role,
        metric=metric,
        split=table.split,
        best=math.fsum(first) / len(first),
        other=math.fsum(second) / len(second),
        paired=result,
        detectable=smallest_detectable(result.sd, result.n),
        needed=examples_needed(result.sd, result.mean, seen=result.n),
        differing=sum(abs(value) > SAME for value in values),
        fewest=FEWEST,
    )


def _marked(table: Table, ranking: list[Candidate], extra: Iterable[Reference]) -> Table:
    """Return the table with reference rows after the baselines, the best and the runner-up marked."""
    marks = {row.label: mark for mark, one in zip(("best", "runner-up"), ranking, strict=False) for row in one.rows}
    for row in table.rows:
        row.values["mark"] = marks.get(row.label, "")
    added = [reference_row(table, reference) for reference in extra]
    rows = [*table.of_kind("baseline"), *added, *table.of_kind("configuration")]
    return replace(table, rows=tuple(rows))
