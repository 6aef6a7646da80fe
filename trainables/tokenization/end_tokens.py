"""Where a text ends: every end that a model declares stops it, and one of these is what is trained (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError
from trainables.model_files.weight_files import GENERATION, generation_of, json_of

if TYPE_CHECKING:
    from trainables.tokenization.token_rows import Encoder


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


def ends_sentence(encoder: Encoder) -> str | None:
    """Say which end is trained where a model declares several, None where there is but one."""
    others = [one for one in encoder.eos_ids if one != encoder.eos_id]
    if not others:
        return None
    return (
        f"summaries are trained to end with {_token(encoder, encoder.eos_id)}; "
        f"a text also stops at {', '.join(_token(encoder, one) for one in others)}"
    )


def check_ends(encoder: Encoder, folder: Path) -> None:
    """Raise UserError unless the end that is trained stops a text, and model and tokenizer know it by the same id."""
    rows = embedding_rows(folder)
    for one in (encoder.eos_id, *encoder.bos_ids):
        if rows is not None and one >= rows:
            raise UserError(
                f"the tokenizer in {folder} puts {_token(encoder, one)} around every text, and the model has weights "
                f"for the ids 0 to {rows - 1} alone: it was added without resizing the model"
            )
    if encoder.eos_id not in encoder.eos_ids:
        raise UserError(
            f"summaries would be trained to end with {_token(encoder, encoder.eos_id)}, the tokenizer's eos_token, at "
            f"which {folder} does not stop ({', '.join(_token(encoder, one) for one in encoder.eos_ids)} by its "
            f"{GENERATION} or config.json): name one of these as eos_token in tokenizer_config.json, or that one there"
        )


def check_ids(encoder: Encoder, folder: Path, example_id: str, ids: Iterable[int]) -> None:
    """Raise UserError where a row has a token that the model has no weights for."""
    rows = embedding_rows(folder)
    largest = max(ids, default=0)
    if rows is not None and largest >= rows:
        raise UserError(
            f"example {example_id!r} has the token {_token(encoder, largest)}, and the model in {folder} has weights "
            f"for the ids 0 to {rows - 1} alone: its tokenizer was extended without resizing the model"
        )


def _token(encoder: Encoder, one: int) -> str:
    return f"{encoder.tokenizer.id_to_token(one)!r} ({one})"
