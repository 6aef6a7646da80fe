"""The pocket model and corpus: small stand-ins for gpt2 and SAMSum that work offline; torch-free to import."""

from __future__ import annotations

from pathlib import Path

from trainables.pocket.corpus import records

POCKET_MODEL = "pocket-gpt2"
POCKET_DATA = "pocket-chats"

LEARNING_RATES: tuple[float, float] = (5e-3, 2e-3)


def model_folder() -> Path:
    """Return the folder inside this package that holds the pocket model and its tokenizer."""
    return Path(__file__).resolve().parent / "model"


__all__ = ["LEARNING_RATES", "POCKET_DATA", "POCKET_MODEL", "model_folder", "records"]
