"""Records made into examples: cleaned, with unique ids, parted into splits, without repeats and leaks (no torch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainables.data.corpus import SPLITS, Example, rank_of
from trainables.data.raw_records import Ticker
from trainables.data.record_texts import ID_FIELDS, check_not_words, columns_of, given_id, texts_of, value_of
from trainables.data.spelled_ends import without_end


def normalised(text: str) -> str:
    """Return the text with all white space made equal: what decides whether two sources are the same."""
    return " ".join(text.split())


class SourceMarks(dict[str, bytes]):
    """The digest of each source with its white space made equal, made once: sources of one digest are the same."""

    def __init__(self, ticker: Ticker, total: int) -> None:
        super().__init__()
        self.ticker, self.total = ticker, total

    def __missing__(self, source: str) -> bytes:
        self.ticker.at("comparing sources", len(self), self.total)
        self[source] = rank_of(normalised(source))
        return self[source]


def clean(
    records: Sequence[Mapping[str, Any]],
    source_field: str,
    target_fields: Sequence[str],
    twice: frozenset[str],
    ends: Counter[str],
    ticker: Ticker,
) -> list[Example]:
    for field in target_fields:
        check_not_words([value_of(record, field) for record in records], field)
    examples = []
    taken = {source_field, *target_fields, *ID_FIELDS, *twice}
    for number, record in enumerate(records):
        texts = texts_of(value_of(record, source_field), source_field)
        written = [text for field in target_fields for text in texts_of(value_of(record, field), field)]
        parted = [without_end(text) for text in written]
        ends.update(end for _, end in parted if end)
        references = tuple(text for text, _ in parted if text)
        if texts and references:
            source = "\n".join(texts)
            identity = given_id(record) or rank_of(source).hex()[:12]
            examples.append(Example(identity, source, references, columns_of(record, taken)))
        ticker.at("cleaning", number, len(records))
    return examples


def with_unique_ids(examples: Sequence[Example]) -> list[Example]:
    taken: set[str] = set()
    repeats: Counter[str] = Counter()
    unique = []
    for example in examples:
        identity = example.id
        while identity in taken:
            repeats[example.id] += 1
            identity = f"{example.id}#{repeats[example.id] + 1}"
        taken.add(identity)
        unique.append(replace(example, id=identity))
    return unique


def split_by_hash(
    examples: Sequence[Example], found: dict[str, Any], marks: SourceMarks
) -> tuple[dict[str, list[Example]], dict[str, dict[str, Any]]]:
    """Split 80/10/10 by a hash of the source: equal sources never part, and more records move none."""
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for example in examples:
        tenth = int.from_bytes(marks[example.source][:8], "big") % 10
        splits["test" if tenth == 9 else "validation" if tenth == 8 else "train"].append(example)
    # Empty records have no source to hash: they are counted in train.
    reports = {split: {"read": len(rows), "empty": 0} for split, rows in splits.items()}
    reports["train"] = {"read": len(splits["train"]) + found["empty"], "empty": found["empty"]}
    return splits, reports


def find_repeats(splits: Mapping[str, Sequence[Example]], split: str, marks: SourceMarks) -> dict[str, Any]:
    """Count repeats inside a split and sources shared with the splits before it; ids of what should be left out."""
    own = {example.id: marks[example.source] for example in splits[split]}
    first: dict[bytes, str] = {}
    duplicates = [identity for identity, mark in own.items() if first.setdefault(mark, identity) != identity]
    leaked = _shared(own, splits.get("train", ()) if split != "train" else (), marks)
    again = set(_shared(own, splits.get("validation", ()) if split == "test" else (), marks)) - set(leaked)
    return {
        "duplicates": len(duplicates),
        "leaked": len(leaked),
        "also_in_validation": len(again),
        "duplicate_ids": duplicates if split != "train" else [],
        "leaked_ids": sorted({*leaked, *again}),
    }


def _shared(own: Mapping[str, bytes], others: Sequence[Example], marks: SourceMarks) -> list[str]:
    known = {marks[example.source] for example in others}
    return [identity for identity, mark in own.items() if mark in known]


def exclude(split: str, examples: Sequence[Example], found: dict[str, Any], keep_leaked: bool) -> list[Example]:
    out = set(found["duplicate_ids"])
    if not keep_leaked:
        out.update(found["leaked_ids"])
    kept = [example for example in examples if example.id not in out]
    found["excluded"], found["kept"] = len(examples) - len(kept), len(kept)
    return kept
