"""Whether a model stops at the end that its summaries are trained with, and has weights for every token (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainables.errors import UserError
from trainables.model_files.weight_files import GENERATION
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.end_tokens import embedding_rows


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
