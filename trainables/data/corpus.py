"""Examples: cleaned, free of leaks between the splits, in seeded nested subsets, with a fingerprint (no torch).

records -> clean (CRLF to LF, stripped, empty ones dropped) -> unique ids -> evaluation splits without repeats and
without sources that are also in train -> `Corpus`. Where the records come from is `read_records`'s business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainables.data import read_records
from trainables.data.data_report import reference_counts
from trainables.data.folder_layout import UNSPLIT
from trainables.data.raw_records import SILENT, Raw, Ticker
from trainables.data.record_texts import (
    ID_FIELDS,
    Scalar,
    check_not_words,
    columns_of,
    field_names,
    given_id,
    texts_of,
    value_of,
    words_note,
)
from trainables.data.sources import DataSource
from trainables.data.spelled_ends import without_end
from trainables.errors import UserError, nearest

SPLITS = ("train", "validation", "test")
EVALUATION_SEED = "evaluation"
LONGEST_NAME = 60  # characters of a field's name in a sentence


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
    """Return the example of a row."""
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


def load_corpus(
    source: DataSource,
    source_field: str,
    target_field: str,
    keep_leaked: bool = False,
    needed: Sequence[str] = SPLITS,
    ticker: Ticker = SILENT,
) -> Corpus:
    """Read, clean and check a data set.

    `target_field` names one field, or several joined with `+`: all that a record has are its references, in this
    order (`summary+summary1+summary2+summary3` reads DialogSum, whose test split alone has three). A field may also
    hold a list of strings, and `meta.text` is the part `text` of an object `meta`. Raises UserError for an unknown
    field, unreadable files, and a split of `needed` that is missing or has no usable record.
    """
    raw = read_records.read_records(source.location, source.kind, source.configuration, ticker)
    _check_fields(raw, source_field, target_field, source.label)
    cleaned: dict[str, list[Example]] = {}
    report: dict[str, dict[str, Any]] = {}
    ends: Counter[str] = Counter()
    for split, records in raw.splits.items():
        cleaned[split] = _clean(records, source_field, target_field.split("+"), raw.twice, ends, ticker)
        report[split] = {"read": len(records), "empty": len(records) - len(cleaned[split])}
    marks = _Marks(ticker, sum(map(len, cleaned.values())))
    sources = [value_of(record, source_field) for records in raw.splits.values() for record in records]
    notes = [*raw.notes, *words_note(sources, source_field), *_lists_note(raw, target_field), *_ends_note(ends)]
    if UNSPLIT in cleaned:
        cleaned, report = _split_by_hash(cleaned[UNSPLIT], report[UNSPLIT], marks)
        notes.insert(0, _how_split(cleaned))
    splits = {split: _with_unique_ids(cleaned[split]) for split in SPLITS if split in cleaned}
    for split in splits:
        report[split].update(_find_repeats(splits, split, marks))
    kept = {split: _exclude(split, examples, report[split], keep_leaked) for split, examples in splits.items()}
    kept |= {"train": [replace(example, columns=()) for example in kept["train"]]} if "train" in kept else {}
    _check_splits(kept, report, needed, source.label)
    for split, examples in kept.items():
        if counts := reference_counts([example.references for example in examples]):
            report[split]["references"] = counts
    summary = {"source_field": source_field, "target_field": target_field, "keep_leaked": keep_leaked, "splits": report}
    columns = tuple(sorted({key for records in raw.splits.values() for record in records[:100] for key in record}))
    summary |= {"notes": notes} if notes else {}
    return Corpus(source.label, kept, summary, fingerprint(kept, ticker), columns)


def fingerprint(splits: Mapping[str, Sequence[Example]], ticker: Ticker = SILENT) -> str:
    """Return the SHA-256 over every example of every split, in order."""
    total = hashlib.sha256()
    for split in sorted(splits):
        for number, example in enumerate(splits[split]):
            ticker.at(f"fingerprint of the {split} split", number, len(splits[split]), "examples")
            total.update(json.dumps([split, example.content()], sort_keys=True, ensure_ascii=True).encode())
    return total.hexdigest()


def _ends_note(ends: Counter[str]) -> list[str]:
    """Say how many summaries ended in a spelled-out end of text: a model would be taught to spell it."""
    count, spelled = ends.total(), ", ".join(sorted(ends))
    some = "summary ends" if count == 1 else "summaries end"
    return [f"{count} {some} in a spelled-out {spelled}, which is taken off"] if count else []


# --- subsets and orders ----------------------------------------------------------------------------------------------


def training_order(examples: Sequence[Example], data_seed: int) -> list[Example]:
    """Return the examples in the order of their nested subsets: the first n are the subset of n."""
    return sorted(examples, key=lambda example: _rank(f"train/{data_seed}/{example.id}"))


def evaluation_order(examples: Sequence[Example]) -> list[Example]:
    """Return the examples in the one fixed order of nested evaluation subsets."""
    return sorted(examples, key=lambda example: _rank(f"{EVALUATION_SEED}/{example.id}"))


def epoch_order(count: int, data_seed: int, epoch: int) -> list[int]:
    """Return a permutation of range(count): a function of (data_seed, epoch) alone, on every machine."""
    return sorted(range(count), key=lambda index: _rank(f"epoch/{data_seed}/{epoch}/{index}"))


def _rank(key: str) -> bytes:
    # A hash rather than a shuffle: the same for ever, whatever the version of Python or numpy.
    return hashlib.sha256(key.encode()).digest()


# --- cleaning --------------------------------------------------------------------------------------------------------


def normalised(text: str) -> str:
    """Return the text with all white space made equal: what decides whether two sources are the same."""
    return " ".join(text.split())


class _Marks(dict[str, bytes]):
    """A digest of every source with its white space made equal, made once: it decides whether two are the same."""

    def __init__(self, ticker: Ticker, total: int) -> None:
        super().__init__()
        self.ticker, self.total = ticker, total

    def __missing__(self, source: str) -> bytes:
        self.ticker.at("comparing sources", len(self), self.total)
        self[source] = _rank(normalised(source))
        return self[source]


def _clean(
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
            identity = given_id(record) or _rank(source).hex()[:12]
            examples.append(Example(identity, source, references, columns_of(record, taken)))
        ticker.at("cleaning", number, len(records))
    return examples


def _with_unique_ids(examples: Sequence[Example]) -> list[Example]:
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


def _split_by_hash(
    examples: Sequence[Example], found: dict[str, Any], marks: _Marks
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


def _lists_note(raw: Raw, target_field: str) -> list[str]:
    """Say that the parts of a list are taken as references: they may be the sentences of one summary."""
    records = [record for rows in raw.splits.values() for record in rows]
    lists = {
        field: sum(len(value) > 1 for record in records if isinstance(value := value_of(record, field), list | tuple))
        for field in target_field.split("+")
    }
    return [
        f"field {field!r} holds lists in {count} of {len(records)} records: each part is taken as a reference of its "
        "own, and training uses the first alone; join the parts where they are one text"
        for field, count in lists.items()
        if count
    ]


def _how_split(splits: Mapping[str, Sequence[Example]]) -> str:
    sizes = ", ".join(f"{split} {len(examples)}" for split, examples in splits.items())
    return f"one file without splits: parted 80/10/10 by a hash of the source ({sizes})"


# --- repeats and leaks -----------------------------------------------------------------------------------------------


def _find_repeats(splits: Mapping[str, Sequence[Example]], split: str, marks: _Marks) -> dict[str, Any]:
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


def _shared(own: Mapping[str, bytes], others: Sequence[Example], marks: _Marks) -> list[str]:
    known = {marks[example.source] for example in others}
    return [identity for identity, mark in own.items() if mark in known]


def _exclude(split: str, examples: Sequence[Example], found: dict[str, Any], keep_leaked: bool) -> list[Example]:
    out = set(found["duplicate_ids"])
    if not keep_leaked:
        out.update(found["leaked_ids"])
    kept = [example for example in examples if example.id not in out]
    found["excluded"], found["kept"] = len(examples) - len(kept), len(kept)
    return kept


# --- checks ----------------------------------------------------------------------------------------------------------


def _check_fields(raw: Raw, source_field: str, target_field: str, label: str) -> None:
    targets = target_field.split("+")
    per_split = {
        split: {name for record in records for name in field_names(record)}
        for split, records in raw.splits.items()
        if records
    }
    known = sorted({key for keys in per_split.values() for key in keys})
    for field in (source_field, *targets):
        if per_split and field not in known:
            hint = f"; {raw.hint}" if raw.hint else ""
            raise UserError(
                f"field {field!r} is not in the data {label!r}; {nearest(field, _shown(known))}; "
                f"say which to read by --fields source=...,target=...{hint}"
            )
        if field in raw.twice:
            raise UserError(
                f"field {field!r} of the data {label!r} is there twice, and only one of them can be read: "
                "rename or remove one"
            )
    for split, keys in per_split.items():
        for role, fields in (("source", [source_field]), ("target", targets)):
            if keys.isdisjoint(fields):
                names = "+".join(fields)
                more = [
                    key
                    for key in sorted(keys)
                    if role == "target" and re.fullmatch(rf"{re.escape(fields[0])}_?\d+", key)
                ]
                joined = "+".join([*fields, *more])
                remedy = f"give all that splits have, as --fields source={source_field},target={joined}"
                raise UserError(
                    f"the {split} split of {label!r} has no {role} field {names!r}; "
                    f"{remedy if more else nearest(names, _shown(sorted(keys)))}"
                )


def _shown(names: Sequence[str]) -> list[str]:
    """Return the names of fields as a sentence can hold them: a text in the place of a header is long."""
    return [name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..." for name in names]


def _check_splits(
    kept: Mapping[str, Sequence[Example]], report: Mapping[str, Any], needed: Sequence[str], label: str
) -> None:
    for split in needed:
        if split not in kept:
            raise UserError(
                f"the data {label!r} has no {split} split; found: {', '.join(kept)}. "
                f"Add {split}.json, or give a single file without splits of its own, which is split 80/10/10"
            )
        if not kept[split]:
            found = report[split]
            raise UserError(
                f"the {split} split of {label!r} has no usable record: {found['read']} read, {found['empty']} empty, "
                f"{found['excluded']} left out as repeated or leaked"
            )
