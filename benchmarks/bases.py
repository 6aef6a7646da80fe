"""The model and the data of each size of the benchmarks; weights that cannot be had are drawn at random, said so.

`pocket` is what the project bundles; `gpt2` is GPT-2's shape of 124 M parameters, `phi2` Phi-2's of 2.8 G in NF4, which
asks for a GPU, each with its real tokenizer on SAMSum. Random weights cost what trained ones do.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.phi2_qlora import ATTENTION
from trainables.data.sources import resolve_data, resolve_model
from trainables.errors import UserError
from trainables.pocket import POCKET_DATA, POCKET_MODEL

HOUSE = Path(__file__).resolve().parent.parent
OUT = HOUSE / "runs" / "benchmarks"  # what is computed once, and raw measurements; git does not keep it
REAL = HOUSE.parent / "shared" / "real"
SEED = 0


@dataclass(frozen=True)
class Base:
    """A model's folder, a data set's place, and a sentence on each for the table."""

    model_folder: Path
    data: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Large:
    """A model from the hub: its name there, its tokenizer's folder, its name for people, its configuration."""

    hub_name: str
    tokenizer: str
    title: str
    config: Callable[[], Any]
    fields: dict[str, Any]  # of its trials, where they differ from the grid's


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config()


def _phi2() -> Any:
    from transformers import PhiConfig

    sizes = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32}
    ends = {"bos_token_id": 50256, "eos_token_id": 50256}
    return PhiConfig(vocab_size=51200, max_position_embeddings=2048, partial_rotary_factor=0.4, **sizes, **ends)


QLORA = {"quantization": "nf4", "target_modules": ATTENTION, "batch_size": 2, "max_length_tokens": 1126}
LARGE = {
    "gpt2": Large("gpt2", "gpt2", "GPT-2's shape", _gpt2, {}),
    "phi2": Large("microsoft/phi-2", "phi-2", "Phi-2's shape", _phi2, {**QLORA, "gradient_checkpointing": True}),
}
SIZES = ("pocket", *LARGE)


def find_base(size: str, real: Path | None = None) -> Base:
    """Return model and data of a size; raises UserError for another size, or where a tokenizer cannot be had."""
    if size not in SIZES:
        raise UserError(f"--size must be one of {', '.join(SIZES)}, got {size!r}")
    if size == "pocket":
        model = resolve_model(POCKET_MODEL)
        return Base(Path(model.folder), POCKET_DATA, ("the bundled model and chats",))
    real = real or REAL
    large = LARGE[size]
    folder, weights = _model(large, real)
    data, text = _samsum(real)
    return Base(folder, data, (f"{large.title}, {weights}, its real tokenizer; {text}",))


def _samsum(real: Path) -> tuple[str, str]:
    if (real / "samsum").is_dir():
        return str(real / "samsum"), "SAMSum"
    try:
        resolve_data("samsum")
    except UserError:
        return POCKET_DATA, "the bundled chats"
    return "samsum", "SAMSum"


def _model(large: Large, real: Path) -> tuple[Path, str]:
    try:
        return Path(resolve_model(large.hub_name).folder), "trained weights"
    except UserError as error:
        tokenizer = real / "tokenizers" / large.tokenizer
        if not (tokenizer / "tokenizer.json").is_file():
            raise UserError(f"{error}; nor is its tokenizer in {tokenizer}: give --real FOLDER") from None
    folder = OUT / "models" / f"{large.tokenizer}-random"
    if not (folder / "config.json").is_file():
        write_random(large.config(), folder, tokenizer)
    return folder, f"weights drawn at random (seed {SEED})"


def write_random(config: Any, folder: Path, tokenizer: Path) -> None:
    """Write a model of random weights with a tokenizer; a large one in bf16, which halves its file."""
    import torch
    from transformers import AutoModelForCausalLM

    from trainables.model_files.load_pretrained import quiet

    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with quiet():
        torch.manual_seed(SEED)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = AutoModelForCausalLM.from_config(config)
        if sum(one.numel() for one in model.parameters()) > 10**9:
            model.to(torch.bfloat16)
        model.save_pretrained(unfinished)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, unfinished / name)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
