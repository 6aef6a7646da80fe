"""Single rows of a model's embedding, read from its safetensors file alone (no torch)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from trainables.model_files.weight_files import TensorEntry, tensors_of, weight_files

NAMES = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "embeddings.weight")
BYTES = {"F32": 4, "F16": 2, "BF16": 2}
ZERO = 1e-16  # Llama 3's reserved tokens, which were never trained, are below it


def is_untrained(folder: Path, token: int, others: Iterable[int]) -> bool:
    """Return whether a token's embedding is zero or byte for byte that of another token; False where it is unknown."""
    place = _embedding(folder)
    if place is None or not 0 <= token < place[1].shape[0]:
        return False
    path, entry = place
    own = _row(path, entry, token)
    if max(map(abs, _numbers(own, entry.dtype))) <= ZERO:
        return True
    return any(_row(path, entry, other) == own for other in others if 0 <= other < entry.shape[0])


def _embedding(folder: Path) -> tuple[Path, TensorEntry] | None:
    for path in weight_files(folder):
        for name, entry in tensors_of(path).items():
            if name.endswith(NAMES) and len(entry.shape) == 2 and entry.dtype in BYTES and 0 not in entry.shape:
                return path, entry
    return None


def _row(path: Path, entry: TensorEntry, index: int) -> bytes:
    size = entry.shape[1] * BYTES[entry.dtype]
    with path.open("rb") as file:
        file.seek(entry.begin + index * size)
        return file.read(size)


def _numbers(content: bytes, kind: str) -> tuple[float, ...]:
    if kind == "BF16":  # the upper half of a number of 32 bits
        content = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2))
    code = "e" if kind == "F16" else "f"
    return struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content)
