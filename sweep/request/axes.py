"""Axes as the command line spells them: values of a field, or a range of it for a search (no torch)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_origin

from search_spaces.spreads import FloatRange, IntegerRange, Ratio, Spread
from trainables.config import TrainConfig
from trainables.errors import UserError, nearest

RANGE = "LOW..HIGH, log:LOW..HIGH or ratio:FIELD:LOW..HIGH"
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}

Axes = dict[str, tuple[Any, ...]]
Ranges = dict[str, Spread]


def parse_axes(overrides: Sequence[str]) -> tuple[Axes, Ranges]:
    """Return {field: values} of `lora_rank=8,16` and {field: range} of `learning_rate=log:5e-5..5e-3`."""
    axes: Axes = {}
    ranges: Ranges = {}
    for text in overrides:
        name, equals, spelled = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} is not an override; write FIELD=VALUE or FIELD=VALUE,VALUE")
        if name not in TrainConfig.model_fields:
            raise UserError(f"axis {name!r} is not a field of TrainConfig; {nearest(name, TrainConfig.model_fields)}")
        if name in axes or name in ranges:
            raise UserError(f"axis {name} is given twice; write {name}=VALUE,VALUE")
        if _is_range(name, spelled):
            ranges[name] = _range(name, spelled.strip())
        else:
            axes[name] = tuple(_typed(name, value.strip()) for value in spelled.split(","))
    return axes, ranges


def _is_range(name: str, text: str) -> bool:
    """Tell a range from values; texts, such as paths, may hold what marks a range of numbers."""
    is_number = TrainConfig.model_fields[name].annotation in (int, float)
    return is_number and (".." in text or text.strip().startswith(("log:", "ratio:")))


def _range(name: str, text: str) -> Spread:
    match = re.fullmatch(r"(?:ratio:(?P<of>\w+):)?(?P<log>log:)?(?P<low>[^,]+?)\.\.(?P<high>[^,]+)", text)
    if not match:
        raise UserError(f"{name}={text}: a range is written {RANGE}")
    is_log, of = match["log"] is not None, match["of"]
    if of is None and TrainConfig.model_fields[name].annotation is int:
        low, high = (_typed(name, match[end].strip()) for end in ("low", "high"))
        return _made(name, text, IntegerRange, low, high, is_log)
    low, high = (_number(name, match[end].strip(), "a number") for end in ("low", "high"))
    if of is None:
        return _made(name, text, FloatRange, low, high, is_log)
    return _made(name, text, Ratio, of, low, high, is_log)


def _made(name: str, text: str, kind: type[Spread], *values: Any) -> Spread:
    try:
        return kind(*values)
    except UserError as error:
        raise UserError(f"{name}={text}: {error}") from None


def _typed(name: str, text: str) -> Any:
    """Read one value as its field's type; `+` joins the parts of a list: target_modules=q_proj+v_proj."""
    # Not by pydantic's validate_strings: it reads 8.0 as a whole number and "on" as true, which a file may not say.
    kind = TrainConfig.model_fields[name].annotation
    if not text:
        raise UserError(f"axis {name} has an empty value; write {name}=VALUE,VALUE")
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is int:
        return _number(name, text, WORDS["int"], int)
    if kind is float:
        return _number(name, text, WORDS["float"])
    if kind is bool:
        raise UserError(f"{name} must be {WORDS['bool']}, got {text!r}")
    return tuple(text.split("+")) if get_origin(kind) is tuple else text


def _number(name: str, text: str, words: str, kind: type[int] | type[float] = float) -> int | float:
    try:
        return kind(text)
    except ValueError:
        bare = text.strip("\"'")
        hint = f"; write {name}={bare} without quotes" if bare != text else ""
        raise UserError(f"{name} must be {words}, got {text!r}{hint}") from None
