"""Examples and their splits: types, fingerprint, and the seeded orders of nested subsets (no torch)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.data.raw_records import SILENT, Ticker
from trainables.data.record_texts import Scalar

SPLITS = ("train", "validation", "test")
EVALUATION_SEED = "evaluation"


@dataclass(frozen=True)
class Example:
    """One text with its reference summaries; training uses the first reference.

    `columns` are the other short values of its record, kept for evaluation splits so that scores can be shown by them.
    They change no result, so they are part of no fingerprint.
    """

    id: str
    source: str
    references: tuple[str, ...]
    columns: tuple[tuple[str, Scalar], ...] = ()

    def row(self) -> dict[str, Any]:
        """Return the example as it is kept in a sweep."""
        columns = {"columns": dict(self.columns)} if self.columns else {}
        return {**self.content(), **columns}

    def content(self) -> dict[str, Any]:
        """Return what of the example can change a result."""
        return {"id": self.id, "source": self.source, "references": list(self.references)}


def example_of(row: Mapping[str, Any]) -> Example:
    """Return the example that `Example.row` wrote."""
    return Example(row["id"], row["source"], tuple(row["references"]), tuple(row.get("columns", {}).items()))


@dataclass(frozen=True)
class Corpus:
    """The cleaned splits, what was found and left out on the way, and a SHA-256 over all that was kept.

    `report` holds the fields, `keep_leaked`, and per split: read, empty, duplicates (repeats of a source inside the
    split), leaked (sources that are also in train), also_in_validation (of the test split, those leaked apart),
    excluded, kept, and references (how many examples have how many, where that is not one each). Its `notes` are
    sentences on the whole.
    """

    label: str
    splits: dict[str, list[Example]]
    report: dict[str, Any]
    fingerprint: str
    columns: tuple[str, ...] = ()  # of the records as they were read


def fingerprint(splits: Mapping[str, Sequence[Example]], ticker: Ticker = SILENT) -> str:
    """Return the SHA-256 over every example of every split, in order."""
    total = hashlib.sha256()
    for split in sorted(splits):
        for number, example in enumerate(splits[split]):
            ticker.at(f"fingerprint of the {split} split", number, len(splits[split]), "examples")
            total.update(json.dumps([split, example.content()], sort_keys=True, ensure_ascii=True).encode())
    return total.hexdigest()


# --- subsets and orders ----------------------------------------------------------------------------------------------


def training_order(examples: Sequence[Example], data_seed: int) -> list[Example]:
    """Return the examples in the order of their nested subsets: the first n are the subset of n."""
    return sorted(examples, key=lambda example: rank_of(f"train/{data_seed}/{example.id}"))


def evaluation_order(examples: Sequence[Example]) -> list[Example]:
    """Return the examples in the one fixed order of nested evaluation subsets."""
    return sorted(examples, key=lambda example: rank_of(f"{EVALUATION_SEED}/{example.id}"))


def epoch_order(count: int, data_seed: int, epoch: int) -> list[int]:
    """Return a permutation of range(count): a function of (data_seed, epoch) alone, on every machine."""
    return sorted(range(count), key=lambda index: rank_of(f"epoch/{data_seed}/{epoch}/{index}"))


def rank_of(key: str) -> bytes:
    # A hash rather than a shuffle: the same for ever, whatever the version of Python or numpy.
    return hashlib.sha256(key.encode()).digest()
