"""What a model must beat to have read its input: rows that no model made, beside the baselines.

LEAD-3 and LONGEST-3 copy turns of the dialogue; the constant is one training summary for every input; the shuffled row
is the best configuration's own texts, each given to another example. Beating zero-shot alone proves little: a model
that ignores its input beats it too. Scores per example are kept in `report/references-<eval_id>.json`, by checksums of
what they were made from.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from analysis.records.scores import Scores
from analysis.records.table import ResultRow, ResultTable
from trainables.config import TrainConfig, digest, external_of
from trainables.data.corpus import Example
from trainables.metric_table import rouge_words
from trainables.records import atomic_files
from trainables.records.record import SweepFolder
from trainables.records.typed_document import Document, read_if_whole
from trainables.scoring.metrics import means, score, signature

CANDIDATES = 256
SHUFFLES = 5

ExampleScores = list[dict[str, float]]
"""One dictionary of scores per example, in the order of the evaluation."""
ExamplesBySplit = Mapping[str, Sequence[Example]]
"""The examples of an evaluation by split."""


@dataclass(frozen=True)
class Reference:
    """A reference row: its scores per example by split, and what it is in one sentence."""

    name: str
    about: str
    ids: dict[str, list[str]]
    scores: dict[str, ExampleScores]
    key: str = ""  # digest of all that the scores depend on


class KeptScores(BaseModel):
    """The scores of one reference row by split, under the digest of all that they depend on."""

    model_config = ConfigDict(frozen=True)

    key: str
    scores: dict[str, ExampleScores]


class KeptReferences(Document):
    """The content of `report/references-<eval_id>.json`; until 2026-11-30 it named no schema."""

    schema_version: int = Field(default=1, alias="schema")
    rows: dict[str, KeptScores] = Field(default_factory=dict)


def keep_scores(table: ResultTable, rows: Iterable[Reference]) -> None:
    """Keep the scores of reference rows beside a report of this table; nothing else writes them."""
    path = _path(table)
    made = {one.name: KeptScores(key=one.key, scores=one.scores) for one in rows}
    if made and made != _kept(path).rows:
        atomic_files.replace_json(path, KeptReferences(rows=made).model_dump(by_alias=True))


def _kept(path: Path) -> KeptReferences:
    """Return what an earlier report has kept; nothing where there is none, or it is damaged."""
    return read_if_whole(path, KeptReferences) or KeptReferences()


def _path(table: ResultTable) -> Path:
    return SweepFolder(table.folder).report_folder / f"references-{table.eval_id}.json"


def references(
    table: ResultTable,
    examples: ExamplesBySplit,
    scores: Mapping[str, Scores],
    best: Sequence[ResultRow] = (),
    best_name: str = "",
) -> list[Reference]:
    """Return the reference rows of a table: LEAD-3, LONGEST-3, the constant, and the texts of `best` shuffled.

    Args:
        scores: those of the trials by split, with the texts of `best`.
        best: the trials (one per seed) of the configuration whose texts are shuffled; none leaves that row out.
    """
    if not all(examples.values()):
        return []  # a split whose file is not there
    cache = _Cache(table)
    rows = [
        cache.get("LEAD-3", "the first three turns or sentences", examples, lambda: _each(table, examples, lead)),
        cache.get(
            "LONGEST-3", "the three longest turns or sentences", examples, lambda: _each(table, examples, longest)
        ),
    ]
    train = _train_config(table, best)
    if train and (constant := _constant_row(table, cache, examples, train)):
        rows.append(constant)
    if best and min(map(len, examples.values())) > 1:
        key = [row.summary.checksums for row in best if row.summary]
        about = f"its own texts, each given to another example (mean of {SHUFFLES} shuffles)"
        name = f"{best_name} shuffled"
        rows.append(cache.get(name, about, examples, lambda: _shuffled(table, examples, scores, best), key))
    return rows


def reference_row(table: ResultTable, reference: Reference) -> ResultRow:
    """Return a reference as a row of the table."""
    values: dict[str, Any] = {"name": reference.name, "label": reference.name, "kind": "reference", "state": ""}
    values |= {"model": table.model, "data": table.data, "eval_id": table.eval_id, "split": table.split}
    values |= {"signature": table.signatures[0]}
    values |= {**means(reference.scores[table.split]), "examples": len(reference.ids[table.split])}
    if len(reference.scores) > 1:
        values |= {f"validation_{name}": value for name, value in means(reference.scores["validation"]).items()}
    return ResultRow(reference.name, reference.name, "reference", "", None, None, values)


# --- the texts -------------------------------------------------------------------------------------------------------


def pieces(source: str) -> list[str]:
    """Return the turns of a dialogue, or the sentences of a text of one line."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = [part for part in re.split(r"(?<=[.!?])\s+", lines[0]) if part]
    return lines


def lead(source: str) -> str:
    """Return the first three turns or sentences."""
    return "\n".join(pieces(source)[:3])


def longest(source: str) -> str:
    """Return the three longest turns or sentences by characters, in the order of the source."""
    parts = pieces(source)
    chosen = sorted(range(len(parts)), key=lambda index: -len(parts[index]))[:3]
    return "\n".join(parts[index] for index in sorted(chosen))


def best_constant(summaries: Sequence[str]) -> str:
    """Return the summary with the highest mean ROUGE-L against all; the earliest of equals."""
    tokens = [rouge_words(text) for text in summaries]
    counts = Counter(tuple(one) for one in tokens)  # repeated summaries are compared once
    others = [(one, count) for one, count in counts.items() if one]

    from rapidfuzz.distance import LCSseq  # 30 ms, which a table whose reference rows are kept does not wait for

    def total(candidate: list[str]) -> float:
        return math.fsum(
            count * 2 * LCSseq.similarity(candidate, other) / (len(candidate) + len(other)) for other, count in others
        )

    totals = [total(one) if one else -1.0 for one in tokens]
    return summaries[totals.index(max(totals))]


def derangement(count: int, seed: int) -> list[int]:
    """Return a random permutation of one cycle (Sattolo 1986), so that nothing stays in its place."""
    order = list(range(count))
    draw = random.Random(seed)
    for index in range(count - 1, 0, -1):
        other = draw.randrange(index)
        order[index], order[other] = order[other], order[index]
    return order


# --- the scores ------------------------------------------------------------------------------------------------------


def _score(table: ResultTable, text: str, example: Example) -> dict[str, float]:
    return score(text, example.references, table.evaluation.metrics)


def _each(table: ResultTable, examples: ExamplesBySplit, make: Callable[[str], str]) -> dict[str, ExampleScores]:
    return {split: [_score(table, make(row.source), row) for row in rows] for split, rows in examples.items()}


def _train_config(table: ResultTable, best: Sequence[ResultRow]) -> TrainConfig | None:
    """Return the configuration whose training examples the constant comes from: the best one's, or the first."""
    known = [row.train for row in (*best, *table.of_kind("configuration")) if row.train]
    return known[0] if known else None


def _constant_row(table: ResultTable, cache: _Cache, examples: ExamplesBySplit, train: TrainConfig) -> Reference | None:
    path = SweepFolder(table.folder).train_examples_path(train.data_seed)
    if not path.exists() or not path.stat().st_size:
        return None

    def make() -> dict[str, ExampleScores]:
        rows = atomic_files.read_lines(path)[: min(train.train_examples, CANDIDATES)]
        text = best_constant([reference for row in rows for reference in row["references"]])
        return _each(table, examples, lambda source: text)

    used = f"{train.train_examples}" if train.train_examples <= CANDIDATES else f"first {CANDIDATES}"
    about = f"one summary for every input, the best of the {used} training examples on themselves"
    return cache.get("constant", about, examples, make, [atomic_files.sha256_of(path), train.train_examples])


def _shuffled(
    table: ResultTable, examples: ExamplesBySplit, read: Mapping[str, Scores], best: Sequence[ResultRow]
) -> dict[str, ExampleScores]:
    """Score each text of `best` against the references of other examples: the mean over seeds and shuffles."""
    found = {}
    for split, rows in examples.items():
        every: list[ExampleScores] = []
        for trial in best:
            texts = known.text if (known := read[split].texts.get(trial.label)) else {}
            for seed in range(SHUFFLES):
                others = (rows[index].id for index in derangement(len(rows), seed))
                # An example that a trial has no text for counts as an empty text, which is said elsewhere.
                every.append(
                    [_score(table, texts.get(other, ""), row) for other, row in zip(others, rows, strict=True)]
                )
        found[split] = [means(scores) for scores in zip(*every, strict=True)]
    return found


class _Cache:
    """Scores of reference rows that a report has kept, each under a digest of all that it depends on."""

    def __init__(self, table: ResultTable) -> None:
        self.table = table
        self.base = [
            # Of our own scores alone: a metric's script may be absent where the report is made.
            signature([one for one in table.evaluation.metrics if external_of(one) is None]),
            table.evaluation.model_dump(mode="json"),
            CANDIDATES,
            SHUFFLES,
        ]
        self.known = _kept(_path(table)).rows

    def get(
        self,
        name: str,
        about: str,
        examples: ExamplesBySplit,
        make: Callable[[], dict[str, ExampleScores]],
        key: Any = None,
    ) -> Reference:
        ids = {split: [row.id for row in rows] for split, rows in examples.items()}
        content = {split: [row.row() for row in rows] for split, rows in examples.items()}
        identity = digest([self.base, name, content, key])
        kept = self.known.get(name)
        scores = kept.scores if kept and kept.key == identity else make()
        return Reference(name, about, ids, scores, identity)
