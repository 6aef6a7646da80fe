"""Whether a folder holds the very weights that its configuration asks for.

What is missing is made up at random as transformers loads a model, what is left over is dropped, in its log alone.
From the headers that is told for families that people tune most; else a model without memory is loaded, which takes
the seconds that torch needs. The engine asks again as it loads the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainables.errors import UserError
from trainables.model_files.expected_tensors import HEAD, Shapes, expected_shapes, has_tied_head
from trainables.model_files.weight_files import config_of, tensors_of, weight_files

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
class Differences:
    """What a folder holds otherwise than its configuration asks for; shapes are (name, in the file, asked for)."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)


def check_headers(folder: Path, trust_remote_code: bool = False, may_load_torch: bool = True) -> None:
    """Raise UserError naming the weights that are missing, unexpected or of another shape.

    A family that only the library knows is checked where torch may be loaded for it.
    """
    _check_headers(Path(folder), trust_remote_code, may_load_torch)


@lru_cache(maxsize=32)
def _check_headers(folder: Path, trust_remote_code: bool, may_load_torch: bool) -> None:
    shapes = {name: one.shape for path in weight_files(folder) for name, one in tensors_of(path).items()}
    config = config_of(folder)
    problem = prefix_problem(folder, shapes)
    if problem:
        raise UserError(problem)
    expected = expected_shapes(config)
    if expected is not None and not _differences(shapes, expected, has_tied_head(config)):
        return
    if expected is None and not may_load_torch:
        return
    from trainables.model_files.load_pretrained import load_without_memory

    load_without_memory(folder, trust_remote_code)


def _differences(shapes: Mapping[str, tuple[int, ...]], expected: Shapes, is_tied: bool) -> bool:
    """Tell whether the library has to be asked."""
    found = {name: shape for name, shape in shapes.items() if not name.endswith(BUFFERS)}
    if not any(name.startswith("transformer.") for name in found) and "wte.weight" in found:
        found = {f"transformer.{name}": shape for name, shape in found.items()}  # as the first GPT-2 was published
    if is_tied:
        found.setdefault(HEAD, expected[HEAD])
    return found != expected


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


def differences_problem(folder: Path, found: Differences) -> str | None:
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
