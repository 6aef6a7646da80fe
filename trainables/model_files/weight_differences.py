"""What a folder's weights lack against its configuration, said in a sentence (no torch)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.model_files.weight_files import config_of

# What older versions of models saved and newer ones compute.
BUFFERS = (
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
    "rotary_emb.inv_freq",
    "rotary_emb.cos_cached",
    "rotary_emb.sin_cached",
)
PREFIXES = {
    "_orig_mod.": "torch.compile: save the model inside, model._orig_mod",
    "module.": "a parallel wrapper: save the model inside, model.module",
    "base_model.model.": "PEFT: merge the adapter, merge_and_unload(), and save what that returns",
}
SHOWN = 3


@dataclass(frozen=True)
class WeightDifferences:
    """What a folder holds otherwise than its configuration asks for; shapes are (name, in the file, asked for)."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)


def prefix_problem(folder: Path, names: Collection[str]) -> str | None:
    """Say which wrapper's prefix the weights were saved with, None where they have none that is known."""
    for prefix, advice in PREFIXES.items():
        several = sum(name.startswith(prefix) or f".{prefix}" in name for name in names if prefix != "module.")
        several += sum(name.startswith(prefix) for name in names if prefix == "module.")
        if several and 2 * several >= len(names):
            return (
                f"{folder} was saved with the prefix {prefix!r} before the names of {several} of its {len(names)} "
                f"weights ({advice}); no weight would be found by its name, and all would be random"
            )
    return None


def differences_problem(folder: Path, found: WeightDifferences) -> str | None:
    """Say what a folder's weights lack, in one sentence; None where nothing differs."""
    if not found:
        return None
    vocabulary = config_of(folder).get("vocab_size")
    parts = []
    if found.missing:
        parts.append(f"{len(found.missing)} missing, which would be random: {_few(sorted(found.missing))}")
    if found.unexpected:
        parts.append(f"{len(found.unexpected)} that no layer takes: {_few(sorted(found.unexpected))}")
    for name, has, wanted in found.misshapen[:SHOWN]:
        rows = f"vocab_size {vocabulary}" if wanted[:1] == (vocabulary,) and has[:1] != wanted[:1] else ""
        parts.append(f"{name} is {_shape(has)} in place of {_shape(wanted)}" + (f" ({rows})" if rows else ""))
    rest = f", and {len(found.misshapen) - SHOWN} more" if len(found.misshapen) > SHOWN else ""
    return f"{folder} does not hold the weights that its config.json describes: {'; '.join(parts)}{rest}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(str(size) for size in shape) or "one number"
