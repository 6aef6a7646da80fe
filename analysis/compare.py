"""Which configuration to keep, and how far the examples allow one to say so.

The choice is made on validation and reported on test. A configuration is the mean over its seeds, per example. Every
difference is paired by example, under one evaluation: evaluations of different identity are never compared. Several
sweeps stand side by side by `python -m analysis.compare RUN RUN...` (see `analysis.findings.across_sweeps`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.findings import sentences
from analysis.records import deciding_metric
from analysis.records.reference_rows import Reference, reference_row, references
from analysis.records.scores import Scores, read_scores
from analysis.records.table import Row, Table, load
from analysis.statistics.multiple_testing import MARGIN, fewest_for
from analysis.statistics.paired import FEWEST, SAME, Paired, examples_needed, paired, smallest_detectable
from trainables.config import BASELINE_FIELDS, NOT_WEIGHTS
from trainables.errors import UserError, nearest
from trainables.scoring.metrics import own_score_names, score_names

if TYPE_CHECKING:
    from analysis.findings.findings import Findings

LOWER_IS_BETTER = {"eval_loss"}
ELIGIBLE = ("done", "stopped")


@dataclass(frozen=True)
class Candidate:
    """A configuration (or baseline) over its seeds: `selection` is its mean score where the choice is made."""

    name: str
    rows: tuple[Row, ...]
    requested: int
    selection: float
    spread: float | None  # SD of `selection` over seeds

    @property
    def row(self) -> Row:
        return self.rows[0]


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
        return min(self.best.rows, key=lambda row: _order(row.mean(split, metric), metric))

    @cached_property
    def findings(self) -> Findings:
        """What tests, winner and effects say, each computed when first asked for."""
        from analysis.findings.findings import Findings

        return Findings(self)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that configurations can be compared by."""
        return (*score_names(self.table.evaluation.metrics), *LOWER_IS_BETTER)

    @cached_property
    def sentences(self) -> list[str]:
        """What a reader must know, in whole sentences, the best configuration first."""
        return sentences.conclusions(self)


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


def candidates(rows: Iterable[Row], split: str, metric: str) -> list[Candidate]:
    """Gather the seeds of each configuration; what has not finished, or is not finite, is no candidate."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        if row.train is not None:
            groups.setdefault(_without_seed(row), []).append(row)
    found = []
    for seeds in groups.values():
        scored = {row.label: row.mean(split, metric) for row in seeds if row.state in ELIGIBLE}
        kept = [row for row in seeds if (value := scored.get(row.label)) is not None and math.isfinite(value)]
        values = [value for row in kept if (value := scored[row.label]) is not None]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else None
            mean = math.fsum(values) / len(values)
            found.append(Candidate(kept[0].name, tuple(kept), len(seeds), mean, spread))
    return found


def rank(found: Iterable[Candidate], metric: str) -> list[Candidate]:
    """Return candidates from best to worst; equal ones in their order in the table (see `Comparison.tied`)."""
    return sorted(found, key=lambda candidate: _order(candidate.selection, metric))


def baseline_of(table: Table, candidate: Candidate, metric: str) -> Candidate | None:
    """Return the baseline that reads the same prompt with the same model; None where it has not finished."""
    same = [row for row in table.of_kind("baseline") if row.train and _reads(row) == _reads(candidate.row)]
    found = candidates(same, table.split, metric)
    return found[0] if found else None


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


def _without_seed(row: Row) -> str:
    assert row.train is not None
    return row.train.model_dump_json(exclude={"seed", "tokenization", *NOT_WEIGHTS})


def _reads(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row.train, name) for name in BASELINE_FIELDS)


def _order(value: float | None, metric: str) -> float:
    if value is None or not math.isfinite(value):
        return math.inf
    return value if metric in LOWER_IS_BETTER else -value


def _marked(table: Table, ranking: list[Candidate], extra: Iterable[Reference]) -> Table:
    """Return the table with reference rows after the baselines, the best and the runner-up marked."""
    marks = {row.label: mark for mark, one in zip(("best", "runner-up"), ranking, strict=False) for row in one.rows}
    for row in table.rows:
        row.values["mark"] = marks.get(row.label, "")
    added = [reference_row(table, reference) for reference in extra]
    rows = [*table.of_kind("baseline"), *added, *table.of_kind("configuration")]
    return replace(table, rows=tuple(rows))


def main() -> None:
    """Compare several sweeps: `python -m analysis.compare RUN RUN...`."""
    from analysis.findings import across_sweeps

    across_sweeps.main()


if __name__ == "__main__":
    main()
