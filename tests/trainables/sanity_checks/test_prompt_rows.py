"""What is said of a prompt's tokens is what the tokenizer gives, and of an embedding what stands in the file."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from trainables.data.corpus import Example
from trainables.sanity_checks.embedding_rows import is_untrained
from trainables.sanity_checks.prompt_rows import PromptUsage, find
from trainables.tokenization.encoder import load_encoder

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")


def said(folder: Path, template: str) -> list[str]:
    example = Example("a", "Ann: I lost the map.\nBob: Where?", ("Ann lost the map.",))
    encoder = load_encoder(folder)
    return find([PromptUsage("own", template, "model", encoder, folder, 512, 64, [example], {"test": [example]})])


@needs_real_data
def test_the_tokens_of_a_prompt_that_ends_in_a_space_are_shown() -> None:
    folder = REAL / "models" / "dialogue-7M-gpt2"
    tokenizer = load_encoder(folder).tokenizer
    first, alone = (tokenizer.encode(text).tokens[0] for text in (" Ann", "Ann"))
    (line,) = said(folder, "Summarize.\n{source}\nSummary: ")
    assert (
        f"its tokens end in ':' 'Ġ' and the summary begins with {first!r} (alone it would begin with {alone!r})" in line
    )
    assert f"without the space it begins with {first!r} after ':'" in line
    assert said(folder, "Summarize.\n{source}\nSummary:") == []


def embedding(folder: Path, kind: str, rows: list[list[float]]) -> Path:
    """Write a safetensors file with an embedding alone, by hand: numpy has no bfloat16."""
    folder.mkdir()
    numbers = [number for row in rows for number in row]
    content = struct.pack(f"<{len(numbers)}{'e' if kind == 'F16' else 'f'}", *numbers)
    if kind == "BF16":
        content = b"".join(content[at + 2 : at + 4] for at in range(0, len(content), 4))
    entry = {"dtype": kind, "shape": [len(rows), len(rows[0])], "data_offsets": [0, len(content)]}
    header = json.dumps({"model.embed_tokens.weight": entry}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + content)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_a_vector_of_zeros_or_that_of_another_token_is_untrained(kind: str, tmp_path: Path) -> None:
    rows = [[0.5, -1.0], [0.0, 0.0], [0.5, -1.0], [0.25, 2.0]]
    folder = embedding(tmp_path / "model", kind, rows)
    others = {0: [1, 2, 3], 1: [0, 2], 2: [1, 3], 3: [0, 1, 2], 4: [0]}  # 4 has no row
    assert [is_untrained(folder, token, others[token]) for token in range(5)] == [True, True, False, False, False]


def test_vectors_that_rounding_left_of_zero_are_untrained(tmp_path: Path) -> None:
    assert is_untrained(embedding(tmp_path / "model", "BF16", [[1e-23, -1e-23], [1.0, 2.0]]), 0, [])
