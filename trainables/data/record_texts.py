"""The texts in the fields of a record: found by name, line ends made equal, lists of words told (no torch)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.errors import UserError

ID_FIELDS = ("id", "fname")
LONGEST_COLUMN = 200  # characters of a value that examples can be grouped by; longer ones are texts
FEWEST_WORDS = 3  # parts of a list that may be a text taken apart
# Scripts that part no words: a summary in one of these is a single "word" by its white space.
UNPARTED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

Scalar = str | int | float | bool


def value_of(record: Mapping[str, Any], field: str) -> Any:
    """Return a field's value, None where it is absent; `meta.text` is the part `text` of an object `meta`.

    Of a list of objects it is the list of their parts.
    """
    if field in record or "." not in field:
        return record.get(field)
    name, _, rest = field.partition(".")
    while rest:
        inner = record.get(name)
        if isinstance(inner, Mapping):
            return value_of(inner, rest)
        if isinstance(inner, list | tuple) and inner and all(isinstance(part, Mapping) for part in inner):
            return [value_of(part, rest) for part in inner]
        more, _, rest = rest.partition(".")
        name = f"{name}.{more}"
    return None


def field_names(record: Mapping[str, Any]) -> set[str]:
    """Return the names of a record's fields, with those of objects inside after a dot."""
    names = set(record)
    for name, value in record.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, Mapping):
            names |= {f"{name}.{part}" for part in field_names(inner)}
    return names


def texts_of(value: Any, field: str) -> list[str]:
    """Return the texts in a field, line ends made equal, empty ones left out."""
    try:
        return _texts(value, field)
    except RecursionError:
        raise UserError(f"field {field!r} must hold text or a list of texts: lists are nested too deep there") from None


def _texts(value: Any, field: str) -> list[str]:
    if value is None or value != value:  # an empty cell of a table is not a number
        return []
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part, field)]
    if not isinstance(value, str | int | float):
        hint = ""
        if isinstance(value, Mapping):
            hint = f"; name a part of it by a dot: {', '.join(f'{field}.{name}' for name in list(value)[:4])}"
        raise UserError(
            f"field {field!r} must hold text or a list of texts, got {type(value).__name__}: {value!r:.80}{hint}"
        )
    text = str(value).replace("\r\n", "\n").replace("\r", "\n").strip()
    return [text] if text else []


def given_id(record: Mapping[str, Any]) -> str:
    """Return the identity that a record has itself, empty where it has none."""
    values = (record.get(field) for field in ID_FIELDS)
    return next((str(value) for value in values if isinstance(value, str | int) and str(value).strip()), "")


def columns_of(record: Mapping[str, Any], taken: set[str]) -> tuple[tuple[str, Scalar], ...]:
    """Return the short values of a record beside its texts and its identity."""
    return tuple(
        (name, value)
        for name, value in record.items()
        if name not in taken
        and ((isinstance(value, str) and 0 < len(value) <= LONGEST_COLUMN) or isinstance(value, int)
             or (isinstance(value, float) and math.isfinite(value)))
    )  # fmt: skip


def is_taken_apart(value: Any) -> bool:
    """Tell whether a list holds the words, or the characters, of a text rather than texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        return False
    parts = [part.strip() for part in value if part.strip()]
    return len(parts) >= FEWEST_WORDS and all(map(_is_word, parts))


def _is_word(text: str) -> bool:
    return len(text) == 1 or (len(text.split()) == 1 and not UNPARTED.search(text))


def check_not_words(values: Sequence[Any], field: str) -> None:
    """Raise UserError where a field of summaries holds single words in most records: each would be a reference."""
    if apart := _taken_apart(values):
        raise UserError(
            f"field {field!r} holds lists of single words in {len(apart)} of {len(values)} records "
            f"({list(apart[0][:3])!r:.60}, ...) and each would be a reference of its own: join them to one text"
        )


def words_note(values: Sequence[Any], field: str) -> list[str]:
    """Say where a field of sources holds single words in most records: they may be turns of a chat, or a text."""
    if not (apart := _taken_apart(values)):
        return []
    return [
        f"field {field!r} holds lists of single words in {len(apart)} of {len(values)} records: each is taken as a "
        "line of its own; join them where they are one text"
    ]


def _taken_apart(values: Sequence[Any]) -> list[Any]:
    """Return the values that hold the words of a text, empty unless most do."""
    there = [value for value in values if value]
    apart = [value for value in there if is_taken_apart(value)]
    return apart if 2 * len(apart) > len(there) else []
