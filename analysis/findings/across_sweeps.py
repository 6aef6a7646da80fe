"""Several sweeps of one task side by side; what is not comparable is refused.

Comparable are sweeps that were scored on the same examples, in the same way. Losses only where the tokens are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analysis.comparison.candidates import Candidate, candidates, rank
from analysis.comparison.comparison import Comparison, compare
from analysis.findings.sentences import damaged, describe, not_settled, title_of, value_of
from analysis.records import older_trials
from analysis.statistics.multiple_testing import ALPHA, Array, flips_for, holm, sign_flips
from analysis.statistics.paired import paired
from trainables.config import digest
from trainables.errors import UserError
from trainables.metric_table import LOSS, LOWER_IS_BETTER, METRICS
from trainables.scoring.metrics import score_names

if TYPE_CHECKING:
    import pandas as pd

SCORES = tuple(one.name for one in METRICS if one.column_rank is not None)


@dataclass(frozen=True)
class SweepEntry:
    """A finished configuration or baseline of one of the sweeps; `scores` are those of the reported split."""

    run: str
    name: str
    kind: str
    about: str
    model: str
    selection: float
    scores: dict[str, float | None]


@dataclass(frozen=True)
class SweepDifference:
    """The best configuration of all minus the best of another sweep, on the reported split, Holm over the sweeps."""

    run: str
    name: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Across:
    """Comparable sweeps: all that finished, the best first within each kind, and the best of each against the best."""

    metric: str
    split: str
    selection_split: str
    runs: tuple[str, ...]
    entries: tuple[SweepEntry, ...]
    differences: tuple[SweepDifference, ...]
    sentences: tuple[str, ...]
    signatures: tuple[str, ...]


def across(folders: Sequence[Path], metric: str | None = None, eval_id: str | None = None) -> Across:
    """Lay sweeps side by side by `metric` (default: the first sweep's).

    Raises:
        UserError: fewer than two sweeps, or sweeps that cannot be compared, with the reason.
    """
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"compare needs two or more different sweeps, got {' '.join(map(str, folders)) or 'none'}")
    first = compare(folders[0], metric, eval_id)
    found = [first, *(compare(folder, first.metric, eval_id) for folder in folders[1:])]
    names = _names(folders)
    for name, other in zip(names[1:], found[1:], strict=True):
        _check(names[0], first, name, other)
    said = []
    losses_differ = next((one for one in found[1:] if _other_tokens(first, one)), None)
    if losses_differ is not None:
        reason = _token_reason(names[0], first, names[found.index(losses_differ)], losses_differ)
        if first.metric == LOSS:
            raise UserError(f"losses cannot be compared: {reason}; choose another --metric")
        said.append(f"Losses are left out: {reason}.")
    for name, one in zip(names, found, strict=True):
        said += [f"{name}: {text}" for text in (*([not_settled(one)] if one.hidden else []), *damaged(one))]
    entries = [entry for name, one in zip(names, found, strict=True) for entry in _entries(name, one)]
    if losses_differ is not None:
        entries = [SweepEntry(**{**vars(entry), "scores": {**entry.scores, LOSS: None}}) for entry in entries]
    order = {"baseline": 0, "configuration": 1}
    entries.sort(key=lambda entry: (order[entry.kind], _worse(entry.selection, first.metric)))
    differences, text = _differences(names, found)
    return Across(
        metric=first.metric,
        split=first.table.split,
        selection_split=first.table.selection_split,
        runs=tuple(names),
        entries=tuple(entries),
        differences=tuple(differences),
        sentences=(*text, *said),
        signatures=first.table.signatures,
    )


def frame(found: Across) -> pd.DataFrame:
    """Return the entries as a data frame, scores as fractions."""
    import pandas as pd

    rows = [{**asdict(entry), **entry.scores} for entry in found.entries]
    return pd.DataFrame(rows).drop(columns="scores")


# --- what is comparable ----------------------------------------------------------------------------------------------


def _check(name: str, first: Comparison, other_name: str, other: Comparison) -> None:
    """Raise UserError unless two sweeps were scored on the same examples in the same way."""
    where = f"{other_name} cannot be compared with {name}"
    ours, theirs = first.table, other.table
    if (ours.split, ours.selection_split) != (theirs.split, theirs.selection_split):
        raise UserError(f"{where}: it reports on {theirs.split} examples and {name} on {ours.split}")
    for split in ours.evaluation.examples:
        reason = _other_examples(first, other, split)
        if reason:
            raise UserError(f"{where}: {reason}")
    before = [run for one, run in ((ours, name), (theirs, other_name)) if older_trials.is_all(one)]
    if len(before) == 1:
        raise UserError(
            f"{where}: the prompts of {before[0]} were tokenized in parts, as until 2026-11-30; run it again"
        )
    if len(ours.signatures) != 1 or ours.signatures != theirs.signatures:
        differing = set(theirs.signatures) ^ set(ours.signatures)
        parts = [sorted(set(_parts(one)) - set(_parts(two))) for one, two in _both(ours.signatures, theirs.signatures)]
        detail = f"{name} has {_listed(parts[0])}, {other_name} has {_listed(parts[1])}" if differing else "several"
        raise UserError(f"{where}: their scores were made in different ways ({detail})")


def _both(ours: tuple[str, ...], theirs: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("; ".join(ours), "; ".join(theirs)), ("; ".join(theirs), "; ".join(ours))]


def _parts(signature: str) -> list[str]:
    return [part.strip() for piece in signature.split(";") for part in piece.split(",")]


def _listed(parts: list[str]) -> str:
    return " and ".join(repr(part) for part in parts) if parts else "nothing else"


def _other_examples(first: Comparison, other: Comparison, split: str) -> str:
    """Say how the examples of a split differ; nothing where they are the same in text, references and order."""
    ours, theirs = ([digest(example.content()) for example in one.examples.get(split, ())] for one in (first, other))
    if ours == theirs:
        return ""
    if len(ours) != len(theirs):
        return f"it has {len(theirs)} {split} examples and the other {len(ours)}"
    differing = len(set(theirs) - set(ours))
    if not differing:
        return f"its {split} examples are the same in another order"
    return f"{differing} of its {len(theirs)} {split} examples are others"


def _tokens(found: Comparison) -> dict[str, float]:
    """Return the tokens that the loss of each example is over; of the first finished trial that has any."""
    scores = found.scores[found.table.split]
    for counts in scores.tokens.values():
        known = {one: float(count) for one, count in zip(scores.ids, counts, strict=True) if not math.isnan(count)}
        if known:
            return known
    return {}


def _other_tokens(first: Comparison, other: Comparison) -> list[str]:
    ours, theirs = _tokens(first), _tokens(other)
    return [one for one in ours if one in theirs and ours[one] != theirs[one]]


def _token_reason(name: str, first: Comparison, other_name: str, other: Comparison) -> str:
    differing = _other_tokens(first, other)
    one = differing[0]
    return (
        f"the tokenizers of {name} and {other_name} differ ({len(differing)} references have other lengths, {one!r} "
        f"{_tokens(first)[one]:.0f} tokens against {_tokens(other)[one]:.0f})"
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, with as much of their paths as tells them apart."""
    resolved = [folder.resolve() for folder in folders]
    depth = 1
    while len({one.parts[-depth:] for one in resolved}) < len(resolved):
        depth += 1
    return [str(Path(*one.parts[-depth:])) for one in resolved]


# --- the table -------------------------------------------------------------------------------------------------------


def _worse(value: float, metric: str) -> float:
    return value if metric in LOWER_IS_BETTER else -value


def _entries(run: str, found: Comparison) -> list[SweepEntry]:
    table = found.table
    known = [name for name in SCORES if name in (*score_names(table.evaluation.metrics), LOSS)]
    rows = []
    for kind in ("baseline", "configuration"):
        means = {
            name: {one.name: one.selection for one in candidates(table.of_kind(kind), table.split, name)}
            for name in known
        }
        for one in rank(candidates(table.of_kind(kind), table.selection_split, found.metric), found.metric):
            about = (
                describe(one, table) if kind == "configuration" else f"prompt {getattr(one.row.train, 'prompt', '')}"
            )
            model = one.row.train.model if one.row.train else table.model
            scores = {name: means[name].get(one.name) for name in known}
            rows.append(SweepEntry(run, one.name, kind, about, model, one.selection, scores))
    return rows


def _differences(names: Sequence[str], found: Sequence[Comparison]) -> tuple[list[SweepDifference], list[str]]:
    bests = [(name, one, one.best) for name, one in zip(names, found, strict=True) if one.best]
    said = [f"Nothing has finished in {name}." for name, one in zip(names, found, strict=True) if not one.best]
    if not bests:
        return [], said
    metric = found[0].metric
    bests.sort(key=lambda one: _worse(one[2].selection, metric))
    run, first, best = bests[0]
    table = first.table
    where = f"{title_of(metric)} {value_of(metric, best.selection)} on {table.selection_split}"
    said.insert(0, f"Best of all: {best.name} of {run} ({describe(best, table)}), chosen by {where}.")
    others = bests[1:]
    columns = [_paired(first, best, other, candidate) for _, other, candidate in others]
    if not columns:
        return [], said
    flipped = sign_flips(np.array(columns).T, flips_for(len(columns)))
    rows = []
    corrected = holm(flipped.p)
    for (name, _, candidate), column, p, p_holm in zip(others, columns, flipped.p, corrected, strict=True):
        one = paired(column[~np.isnan(column)].tolist())
        if one is None:
            continue
        rows.append(SweepDifference(name, candidate.name, one.n, one.mean, one.low, one.high, float(p), float(p_holm)))
        if p_holm >= ALPHA:
            said.append(f"On {table.split} it cannot be told apart from {candidate.name}, the best of {name}.")
        elif (one.mean > 0) == (metric in LOWER_IS_BETTER):
            said.append(f"On {table.split} {candidate.name}, the best of {name}, is better: the choice did not hold.")
    return rows, said


def _paired(first: Comparison, best: Candidate, other: Comparison, candidate: Candidate) -> Array:
    """Return the differences per example, in the order of the first sweep's examples; NaN where either has none."""
    split, metric = first.table.split, first.metric
    ours, theirs = first.scores[split], other.scores[split]
    place = {one: index for index, one in enumerate(theirs.ids)}
    order = [place.get(one, -1) for one in ours.ids]
    known = np.array([index >= 0 for index in order])
    values = np.where(known, theirs.mean_of_runs(candidate.rows, metric)[order], math.nan)
    found = ours.mean_of_runs(best.rows, metric) - values
    if metric == LOSS:  # scaled so that the mean over examples is the difference between the corpora's losses
        tokens = np.where(np.isnan(found), 0.0, ours.tokens[best.row.label])
        found = found * (np.count_nonzero(tokens) / tokens.sum()) if tokens.any() else found
    return found
