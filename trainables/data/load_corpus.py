"""Read, clean and check a data set: what is missing or wrong is refused in a sentence (no torch).

records -> clean (CRLF to LF, stripped, empty ones dropped) -> unique ids -> evaluation splits without repeats and
without sources that are also in train -> `Corpus`. Where the records come from is `read_records`'s business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainables.data import read_records
from trainables.data.cleaning import SourceMarks, clean, exclude, find_repeats, split_by_hash, with_unique_ids
from trainables.data.corpus import SPLITS, Corpus, Example, fingerprint
from trainables.data.data_report import reference_counts
from trainables.data.folder_layout import UNSPLIT
from trainables.data.raw_records import SILENT, Raw, Ticker
from trainables.data.read_table import LONGEST_NAME
from trainables.data.record_texts import field_names, value_of, words_note
from trainables.data.sources import DataSource
from trainables.errors import UserError, nearest


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
        cleaned[split] = clean(records, source_field, target_field.split("+"), raw.twice, ends, ticker)
        report[split] = {"read": len(records), "empty": len(records) - len(cleaned[split])}
    marks = SourceMarks(ticker, sum(map(len, cleaned.values())))
    sources = [value_of(record, source_field) for records in raw.splits.values() for record in records]
    notes = [*raw.notes, *words_note(sources, source_field), *_lists_note(raw, target_field), *_ends_note(ends)]
    if UNSPLIT in cleaned:
        cleaned, report = split_by_hash(cleaned[UNSPLIT], report[UNSPLIT], marks)
        notes.insert(0, _how_split(cleaned))
    splits = {split: with_unique_ids(cleaned[split]) for split in SPLITS if split in cleaned}
    for split in splits:
        report[split].update(find_repeats(splits, split, marks))
    kept = {split: exclude(split, examples, report[split], keep_leaked) for split, examples in splits.items()}
    kept |= {"train": [replace(example, columns=()) for example in kept["train"]]} if "train" in kept else {}
    _check_splits(kept, report, needed, source.label)
    for split, examples in kept.items():
        if counts := reference_counts([example.references for example in examples]):
            report[split]["references"] = counts
    summary = {"source_field": source_field, "target_field": target_field, "keep_leaked": keep_leaked, "splits": report}
    columns = tuple(sorted({key for records in raw.splits.values() for record in records[:100] for key in record}))
    summary |= {"notes": notes} if notes else {}
    return Corpus(source.label, kept, summary, fingerprint(kept, ticker), columns)


def _ends_note(ends: Counter[str]) -> list[str]:
    """Say how many summaries ended in a spelled-out end of text: a model would be taught to spell it."""
    count, spelled = ends.total(), ", ".join(sorted(ends))
    some = "summary ends" if count == 1 else "summaries end"
    return [f"{count} {some} in a spelled-out {spelled}, which is taken off"] if count else []


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
