"""Scores per example as arrays: every file of predictions is read once, whatever is computed from it.

Shapes: N examples of the split, R runs (seeds) of a configuration, C configurations. A missing score is NaN. For
`eval_loss` the score of an example is its NLL over the mean number of tokens, so that the plain mean over examples is
the loss of the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.records import score_invariants
from analysis.records.table import ResultRow, ResultTable
from analysis.statistics.multiple_testing import Array
from trainables.data.corpus import Example
from trainables.metric_table import LOSS
from trainables.records.trial_states import TRAINED
from trainables.scoring.metrics import score_names


@dataclass(frozen=True)
class Texts:
    """What a trial wrote on a split, and how each text ended ("eos", "limit", "error"), by example."""

    text: dict[str, str]
    ended: dict[str, str]


@dataclass(frozen=True)
class Scores:
    """Scores of the finished trials of a table on one split; `ids` are its examples in the order of the evaluation.

    `values[label][metric]` and `tokens[label]` hold N numbers each; `misaligned` names trials that were scored on other
    examples than most, `missing` the finished trials whose predictions cannot be read.
    """

    split: str
    ids: tuple[str, ...]
    metrics: tuple[str, ...]
    values: dict[str, dict[str, Array]]
    tokens: dict[str, Array]
    misaligned: tuple[str, ...]
    missing: tuple[str, ...]
    texts: dict[str, Texts] = field(default_factory=dict)  # by label, of the trials that they were asked for

    def has(self, rows: Iterable[ResultRow]) -> bool:
        """Tell whether all of these trials have scores here."""
        return all(row.label in self.values for row in rows)

    def in_order(self, scores: Mapping[str, float]) -> Array:
        """Return scores by example as (N,), NaN for the examples that have none."""
        return np.array([scores.get(identity, math.nan) for identity in self.ids])

    def runs(self, rows: Iterable[ResultRow], metric: str) -> Array:
        """Return the scores of trials as (R, N); the NLL, unscaled, for the loss."""
        return np.array([self.values[row.label][metric] for row in rows if row.label in self.values])

    def mean_of_runs(self, rows: Sequence[ResultRow], metric: str) -> Array:
        """Return the scores of a configuration as (N,), the mean over its runs; NaN where any of them has none."""
        runs = self.runs(rows, metric)
        return runs.mean(axis=0) if len(runs) else np.full(len(self.ids), math.nan)

    def paired(self, ours: Sequence[ResultRow], theirs: Sequence[ResultRow], metric: str) -> tuple[Array, Array]:
        """Return the scores of both as (N,) each, on the same scale, NaN in both where either has none.

        All are NaN where the losses of an example are over other tokens, since such losses cannot be compared.
        """
        first, second = self.mean_of_runs(ours, metric), self.mean_of_runs(theirs, metric)
        missing = np.isnan(first) | np.isnan(second)
        if metric == LOSS:
            tokens, others = self.tokens.get(ours[0].label, first), self.tokens.get(theirs[0].label, second)
            is_same = np.array_equal(tokens[~missing], others[~missing])
            scale = _scale(tokens, ~missing) if is_same else math.nan
            first, second = first * scale, second * scale
        return np.where(missing, math.nan, first), np.where(missing, math.nan, second)

    def matrix(self, groups: Iterable[Sequence[ResultRow]], metric: str) -> Array:
        """Return the scores of configurations as (C, N), without the examples that any of them has no score for."""
        groups = list(groups)
        rows = [self.mean_of_runs(group, metric) for group in groups]
        found = np.array(rows).reshape(len(rows), len(self.ids))
        whole = ~np.isnan(found).any(axis=0)
        found = found[:, whole]
        if metric == LOSS and groups:
            tokens = np.array([self.tokens[group[0].label][whole] for group in groups])
            same = bool((tokens == tokens[0]).all())
            found = found * (_scale(tokens[0]) if same else math.nan)
        return found


def read_scores(table: ResultTable, split: str, examples: Sequence[Example], texts_of: Collection[str] = ()) -> Scores:
    """Read the scores per example of every finished trial of a table, and the texts of those labelled `texts_of`.

    Raises:
        UserError: scores that no evaluation gives, see `analysis.records.score_invariants`.
    """
    metrics = (*score_names(table.evaluation.metrics), LOSS)
    lines: dict[str, dict[str, tuple[list[float], float]]] = {}
    texts: dict[str, Texts] = {}
    missing = []
    references = {one.id: one.references for one in examples}
    for row in table.rows:
        if row.record is None or row.summary is None or row.state not in TRAINED:
            continue
        count, whole = row.summary.splits.get(split, {}).get("examples"), table.evaluation.examples.get(split)
        if row.summary.eval_id not in ("", table.eval_id) and count != whole:
            continue  # a baseline beside a race: of this split it has some examples alone
        try:
            read = row.record.predictions(row.summary.eval_id or table.eval_id, split)
            lines[row.label] = {line["id"]: _numbers(line, metrics) for line in read}
            if row.label in texts_of:
                texts[row.label] = texts_in(read)
        except (OSError, ValueError, KeyError, TypeError):
            missing.append(row.label)
            continue
        means = row.summary.splits.get(split, {})
        score_invariants.check(row.label, read, references, means, table.evaluation.metrics)
    ids = _usual([tuple(one) for one in lines.values()])
    values, tokens, misaligned = {}, {}, []
    nothing = ([math.nan] * len(metrics), math.nan)
    for label, one in lines.items():
        if set(one) != set(ids):
            misaligned.append(label)
        found = [one.get(identity, nothing) for identity in ids]
        columns = np.array([numbers for numbers, _ in found]).reshape(len(ids), len(metrics)).T
        values[label] = dict(zip(metrics, columns, strict=True))
        tokens[label] = np.array([count for _, count in found])
    return Scores(split, ids, metrics, values, tokens, tuple(misaligned), tuple(missing), texts)


def texts_in(lines: Iterable[Mapping[str, Any]]) -> Texts:
    """Return the texts in the lines of a file of predictions."""
    lines = list(lines)
    text = {str(line["id"]): str(line["text"]) for line in lines}
    return Texts(text, {str(line["id"]): str(line.get("ended", "")) for line in lines})


def _numbers(line: Mapping[str, Any], metrics: Sequence[str]) -> tuple[list[float], float]:
    nll, tokens = line.get("nll"), line.get("nll_tokens")
    texts = [_number(line["scores"][name]) for name in metrics[:-1]]
    return [*texts, _number(nll)], _number(tokens)


def _number(value: float | None) -> float:
    """Return a finite number or NaN: a score that is infinite is none."""
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _usual(orders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the examples that most trials were scored on; the first of equals."""
    counts: dict[tuple[str, ...], int] = {}
    for order in orders:
        counts[order] = counts.get(order, 0) + 1
    return max(counts, key=lambda order: counts[order]) if counts else ()


def _scale(tokens: Array, where: NDArray[np.bool_] | None = None) -> float:
    used = tokens if where is None else tokens[where]
    total = float(used.sum()) if len(used) else math.nan
    return len(used) / total if total else math.nan
