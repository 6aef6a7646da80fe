"""Records of JSON files: a list of objects, one object a line or one after another, and what pandas writes (no torch).

A half of a character that JSON can spell and text cannot hold (a lone surrogate) is replaced and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.data.folder_layout import SPLIT_NAMES
from trainables.data.raw_records import SILENT, Content, Records, Ticker
from trainables.errors import UserError

WRAPPERS = ("data", "records", "examples", "rows", "items", "instances")  # {"data": [...]}
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
SURROGATE = re.compile("[\ud800-\udfff]")
WHAT_TO_DO = "write a list of objects, or one object a line (pandas: to_json(path, orient='records', lines=True))"


def read_json(path: Path, text: str, in_lines: bool, ticker: Ticker = SILENT) -> Content:
    """Return what a JSON file holds; `in_lines` is what its name says. Raises UserError with the line."""
    reader = _Reader(path)
    content = reader.lines(text, ticker) if in_lines else reader.whole(text, ticker)
    if not ESCAPED_SURROGATE.search(text):
        return content
    return _without_surrogates(path, content)


class _Reader:
    """One file's parser; it remembers which keys stood twice in an object, which JSON lets pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.twice: set[str] = set()
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice.update(name for name in made if names.count(name) > 1)
        return made

    def _decode(self, parse: Callable[[], Any], line: int | None = None) -> Any:
        """Call a parser; raises JSONDecodeError for what may be another layout, UserError for what no layout mends."""
        where = f"{self.path}, line {line}" if line else str(self.path)
        try:
            return parse()
        except json.JSONDecodeError:
            raise
        except RecursionError:
            raise UserError(f"{where}: brackets are nested too deep to be data") from None
        except ValueError as error:  # a number of more digits than Python reads
            raise UserError(f"{where}: not readable JSON ({error})") from None

    def whole(self, text: str, ticker: Ticker) -> Content:
        """Return what one JSON value holds."""
        try:
            content = self._decode(lambda: self.decoder.decode(text))
        except json.JSONDecodeError as error:
            # Files called .json on the hub often hold one object a line.
            if error.msg == "Extra data" and text.lstrip().startswith("{"):
                return self.lines(text, ticker)
            raise self._invalid(error.lineno, error) from None
        if isinstance(content, dict):
            return self._of_object(content)
        if not isinstance(content, list):
            raise UserError(f"{self.path} must hold a list of objects, got {type(content).__name__}; {WHAT_TO_DO}")
        return self._content(content, "record")

    def lines(self, text: str, ticker: Ticker) -> Content:
        """Return one object a line; where the first line is only part of one, those that follow one another."""
        records: Records = []
        # Not splitlines: JSON text may hold U+2028 and the like unescaped.
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                record = self._decode(lambda line=line: self.decoder.decode(line), number)  # type: ignore[misc]
            except json.JSONDecodeError as error:
                if not records and line.strip()[0] in "{[":
                    return self._one_after_another(text, number, error)
                raise self._invalid(number, error) from None
            if not records and isinstance(record, list) and record and isinstance(record[0], dict):
                return self.whole(text, ticker)
            if not isinstance(record, dict):
                raise UserError(f"{self.path}, line {number}: must be an object, got {type(record).__name__}")
            records.append(record)
            ticker.at(f"reading {self.path.name}", number, unit="lines")
        return Content(records, twice=frozenset(self.twice))

    def _one_after_another(self, text: str, line: int, first: json.JSONDecodeError) -> Content:
        """Return the objects of a file that is written over many lines each, or its list."""
        found, place = [], 0
        try:
            while place < len(text) and (rest := re.compile(r"\s*").match(text, place)) and rest.end() < len(text):
                value, place = self._decode(lambda at=rest.end(): self.decoder.raw_decode(text, at))  # type: ignore[misc]
                found.append(value)
        except json.JSONDecodeError as error:
            raise self._invalid(error.lineno if found or error.lineno > line else line, error) from None
        if len(found) == 1 and isinstance(found[0], list):
            return self._content(found[0], "record")
        if len(found) == 1 and isinstance(found[0], dict):
            return self._of_object(found[0])
        return self._content(found, "record")

    def _invalid(self, line: int, error: json.JSONDecodeError) -> UserError:
        return UserError(f"{self.path}, line {line}: not valid JSON ({error.msg})")

    def _content(self, rows: Sequence[Any], noun: str, notes: tuple[str, ...] = ()) -> Content:
        for number, record in enumerate(rows, start=1):
            if isinstance(record, list):
                raise UserError(
                    f"{self.path}, {noun} {number}: must be an object, got a list, whose columns have no names; "
                    "pandas names them with to_json(orient='records')"
                )
            if not isinstance(record, dict):
                raise UserError(f"{self.path}, {noun} {number}: must be an object, got {type(record).__name__}")
        return Content(list(rows), notes=notes, twice=frozenset(self.twice))

    def _of_object(self, content: dict[str, Any]) -> Content:
        """Return the records of one object: itself, its splits, a list that it wraps, or a table that pandas wrote."""
        if not any(isinstance(value, list | dict) for value in content.values()):
            return self._content([content], "record")  # one object a line, one line
        splits = {name: rows for name, rows in content.items() if _split_of_key(name) and _are_objects(rows)}
        if any(splits.values()):
            return self._of_splits(content, splits)
        if _is_split_table(content):
            names = [str(name) for name in content["columns"]]
            return self._content([dict(zip(names, row, strict=True)) for row in content["data"]], "row")
        for key in WRAPPERS:
            if content.get(key) and _are_objects(content[key]):
                note = f"{self.path.name}: the records are those of its key {key!r}"
                return self._content(content[key], "record", (note,))
        table = _columns_of(content)
        if table is None:
            keys = ", ".join(list(content)[:8])
            raise UserError(
                f"{self.path} must hold a list of objects, got dict with the keys {keys or 'none'}; {WHAT_TO_DO}"
            )
        return self._content(table, "row")

    def _of_splits(self, content: Mapping[str, Any], named: Mapping[str, Records]) -> Content:
        splits: dict[str, Records] = {}
        for key, rows in named.items():
            split = _split_of_key(key)
            if split in splits:
                raise UserError(f"{self.path} holds more than one list for the {split} split; keep one of them")
            splits[str(split)] = rows
        unread = [
            key for key, value in content.items() if key not in named and isinstance(value, list | dict) and value
        ]
        notes = (f"{self.path.name}: not read, since no split is called so: {', '.join(unread)}",) if unread else ()
        return Content([], splits, notes, frozenset(self.twice))


def _split_of_key(key: str) -> str | None:
    return next((split for split, names in SPLIT_NAMES.items() if key.lower() in names), None)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _is_split_table(content: Mapping[str, Any]) -> bool:
    """Tell whether pandas wrote it by orient='split'."""
    columns, rows = content.get("columns"), content.get("data")
    return (
        isinstance(columns, list)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    )


def _columns_of(content: Mapping[str, Any]) -> Records | None:
    """Return the rows of a table whose columns are lists, or objects by the row's number as pandas writes them."""
    values = list(content.values())
    if all(isinstance(value, list) and len(value) == len(values[0]) > 0 for value in values):
        return [dict(zip(content, row, strict=True)) for row in zip(*values, strict=True)]
    if not all(isinstance(value, dict) and value and value.keys() == values[0].keys() for value in values):
        return None
    if all(name.isdigit() for name in content):  # orient='index': one object a row
        return values
    if all(name.isdigit() for name in values[0]):  # pandas' default: one object a column
        return [{name: column[key] for name, column in content.items()} for key in values[0]]
    return None


# --- halves of characters ---------------------------------------------------------------------------------------------


def _without_surrogates(path: Path, content: Content) -> Content:
    """Return the content with every half of a character replaced by U+FFFD, and a note of how many records had one."""
    mended = 0

    def clean(records: Iterable[dict[str, Any]]) -> Records:
        nonlocal mended
        kept = []
        for record in records:
            other = _replaced(record)
            mended += other is not record
            kept.append(other)
        return kept

    try:
        records = clean(content.records)
        splits = {split: clean(rows) for split, rows in content.splits.items()} if content.splits else content.splits
    except RecursionError:
        raise UserError(f"{path}: brackets are nested too deep to be data") from None
    note = (
        f"{path.name}: {mended} records held half a character (a lone surrogate, such as \\ud83d): replaced by U+FFFD"
    )
    return Content(records, splits, (*content.notes, note) if mended else content.notes, content.twice, content.hint)


def _replaced(value: Any) -> Any:
    """Return a value without halves of characters; the value itself where it has none."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value) if SURROGATE.search(value) else value
    if isinstance(value, list):
        parts = [_replaced(part) for part in value]
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    if isinstance(value, dict):
        pairs = [(_replaced(key), _replaced(part)) for key, part in value.items()]
        same = all(key is old and part is value[old] for (key, part), old in zip(pairs, value, strict=True))
        return value if same else dict(pairs)
    return value
