"""What tells one base model from another: a SHA-256 over everything of its folder that is loaded (no torch).

A sweep keeps the scheme that its fingerprint was made by, and is compared by that ever after.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainables.errors import UserError
from trainables.model_files.weight_files import (
    GENERATION,
    INDEX,
    SINGLE,
    generation_of,
    json_of,
    tensors_of,
    weight_files,
)

SCHEME = 2
OF_WHO_SAVED_IT = ("_name_or_path", "transformers_version")  # of a configuration, not of the model
NOT_OF_THE_TOKENIZER = ("name_or_path", "transformers_version", "is_local", "local_files_only", "tokenizer_file")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BESIDE_THE_TOKENIZER = ("merges.txt", "chat_template.jinja", "chat_template.json")
WHOLE_UP_TO_BYTES = 32 * 2**20
SAMPLES, SAMPLE_BYTES = 64, 4096


def runs_own_code(folder: Path, trust_remote_code: bool) -> bool:
    """Tell whether loading a folder runs Python files of it: where it names some, and only where they are trusted."""
    named = [folder / name for name in ("config.json", "tokenizer_config.json")]
    return trust_remote_code and any(json_of(path).get("auto_map") for path in named if path.is_file())


def model_fingerprint(folder: Path, scheme: int = SCHEME, own_code: bool = False) -> str:
    """Return a SHA-256 over a model's configuration, ends of text, tokenizer, chat template and weights.

    Its own code counts where `own_code` says that it is run: others may put such files into a shared cache.
    Weights count by name, size, header and content; of a file above 32 MiB 64 samples of 4 KiB stand for the content,
    so that 14 GB take well under a second. Scheme 1 leaves out all but configuration, vocabulary and weights.
    """
    if scheme not in (1, SCHEME):
        raise UserError(f"the fingerprint of a model must be of scheme 1 or {SCHEME}, got {scheme}: update packsweep")
    total = hashlib.sha256()
    config = json_of(folder / "config.json")
    total.update(_canonical(config, OF_WHO_SAVED_IT))
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            total.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    if scheme > 1:
        _add_what_scheme_1_left_out(total, folder, own_code)
    for path in weight_files(folder) if scheme > 1 else _weight_files_1(folder):
        total.update(path.name.encode() + _weights_digest(path))
    return total.hexdigest()


def _add_what_scheme_1_left_out(total: Any, folder: Path, own_code: bool) -> None:
    if (folder / GENERATION).is_file():  # nothing else of it is used
        total.update(json.dumps({"eos_token_id": generation_of(folder).get("eos_token_id")}).encode())
    for name in TOKENIZER_SETTINGS:
        if (folder / name).is_file():
            total.update(name.encode() + _canonical(json_of(folder / name), NOT_OF_THE_TOKENIZER))
    beside = [folder / name for name in BESIDE_THE_TOKENIZER]
    beside += sorted(folder.glob("*.py")) if own_code else []
    for path in beside:
        if path.is_file():
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())


def _canonical(values: dict[str, Any], without: tuple[str, ...]) -> bytes:
    return json.dumps({key: value for key, value in values.items() if key not in without}, sort_keys=True).encode()


def _weight_files_1(folder: Path) -> list[Path]:
    """An index came first, though transformers takes the single file before it."""
    if (folder / INDEX).is_file():
        return [folder / name for name in sorted(set(json_of(folder / INDEX).get("weight_map", {}).values()))]
    return [folder / SINGLE] if (folder / SINGLE).is_file() else sorted(folder.glob("*.safetensors"))


def _weights_digest(path: Path) -> bytes:
    tensors_of(path)  # a damaged or unfinished file has no fingerprint
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little") + 8
        file.seek(0)
        if size <= WHOLE_UP_TO_BYTES:
            digest.update(file.read())
            return digest.digest()
        digest.update(file.read(header))
        last = size - SAMPLE_BYTES
        for number in range(SAMPLES):
            file.seek(header + (last - header) * number // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.digest()
