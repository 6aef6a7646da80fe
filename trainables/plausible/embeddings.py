"""Single rows of a model's embedding, read from its safetensors file alone (no torch)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainables.weights import weight_files

NAMES = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "embeddings.weight")
BYTES = {"F32": 4, "F16": 2, "BF16": 2}
ZERO = 1e-16  # Llama 3's reserved tokens, which were never trained, are below it


def is_untrained(folder: Path, token: int, others: Iterable[int]) -> bool:
    """Return whether a token's embedding is zero or byte for byte that of another token; False where it is unknown."""
    place = _embedding(folder)
    if place is None:
        return False
    path, entry, start = place
    count, width = entry["shape"]
    size = width * BYTES[entry["dtype"]]

    def row(file: Any, index: int) -> bytes:
        file.seek(start + entry["data_offsets"][0] + index * size)
        return bytes(file.read(size))

    if not 0 <= token < count:
        return False
    with path.open("rb") as file:
        own = row(file, token)
        if max(map(abs, _numbers(own, entry["dtype"]))) <= ZERO:
            return True
        return any(row(file, other) == own for other in others if 0 <= other < count)


def _embedding(folder: Path) -> tuple[Path, dict[str, Any], int] | None:
    """Return the file of the embedding, its entry in the header and where the tensors of that file begin."""
    for path in weight_files(folder):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= path.stat().st_size:
                return None
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name.endswith(NAMES) and len(entry["shape"]) == 2 and entry["dtype"] in BYTES:
                return path, entry, 8 + length
    return None


def _numbers(content: bytes, kind: str) -> tuple[float, ...]:
    if kind == "BF16":  # the upper half of a number of 32 bits
        content = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2))
    code = "e" if kind == "F16" else "f"
    return struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content)
