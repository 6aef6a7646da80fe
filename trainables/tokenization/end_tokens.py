"""The end-of-text ids that a model declares, and the number of ids that it has weights for (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainables.model_files.weight_files import generation_of, json_of


def declared_ends(folder: Path) -> tuple[int, ...]:
    """Return the ids at which the library's own `generate` stops with this folder, empty where it names none.

    Most instruct models name the end of a turn in generation_config.json alone.
    """
    config = _read(folder, "config.json")
    nested = config.get("text_config") or {}
    for part in (generation_of(folder), config, nested):
        value = part.get("eos_token_id")
        if value is not None:
            return tuple(dict.fromkeys(one for one in _listed(value) if type(one) is int and one >= 0))
    return ()


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = Path(folder) / name
    return json_of(path) if path.is_file() else {}


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def embedding_rows(folder: Path) -> int | None:
    """Return how many tokens a model has weights for, None where its configuration does not say."""
    config = _read(folder, "config.json")
    value = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    return value if type(value) is int else None
