"""Layers and parameter counts of a model folder, from safetensors headers alone (no torch, no weights read).

Targets are matched as PEFT matches them: a layer is meant by its full name or by a name that it ends with after a dot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from trainables.errors import UserError, nearest
from trainables.model_files.adaptable_layers import refusal
from trainables.model_files.weight_differences import BUFFERS
from trainables.model_files.weight_files import config_of, no_weights, tensors_of, weight_files

PRECISION_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}  # of a number
# Families whose linear layers are Conv1D, which stores its weight as (in, out).
TRANSPOSED = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"}
HEAD = "lm_head"
EMBEDDINGS = ("embed", "wte", "wpe")
COUNTERS = (".e_score_correction_bias",)  # by which DeepSeek-V3 keeps its experts evenly busy


@lru_cache(maxsize=32)
def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every tensor in the files that are loaded; raises UserError without any."""
    paths = weight_files(Path(folder))
    if not paths:
        raise UserError(no_weights(str(folder), [path.name for path in sorted(Path(folder).iterdir())]))
    return {name: one.shape for path in paths for name, one in tensors_of(path).items()}


def linear_shapes(folder: Path | str) -> dict[str, tuple[int, int]]:
    """Return name -> (inputs, outputs) of every linear layer, embeddings left out."""
    folder = Path(folder)
    transposed = config_of(folder).get("model_type") in TRANSPOSED
    layers = {}
    for name, shape in tensor_shapes(folder).items():
        layer = name.removesuffix(".weight")
        if layer == name or len(shape) != 2 or any(part in layer.rsplit(".", 1)[-1] for part in EMBEDDINGS):
            continue
        # The head is an ordinary linear layer also where the others are Conv1D.
        turned = transposed and not layer.endswith(HEAD)
        layers[layer] = (shape[0], shape[1]) if turned else (shape[1], shape[0])
    return layers


def target_names(folder: Path | str, targets: Sequence[str]) -> list[str]:
    """Return the full names of the layers meant by `targets`; raises UserError naming a target without any."""
    config = config_of(Path(folder))
    reasons = {layer: refusal(config, layer) for layer in linear_shapes(folder)}
    layers = [layer for layer, reason in reasons.items() if reason is None]
    for target in targets:
        if not any(_matches(layer, target) for layer in layers):
            reason = next((why for layer, why in reasons.items() if why and _matches(layer, target)), None)
            if reason is None and target == HEAD and _is_tied(config):
                reason = "its weight is the embedding's, which would change with it where the adapter is merged"
            if reason is not None:
                raise UserError(f"target_modules: {target!r} of {folder} can have no adapter: {reason}")
            known = sorted({layer.rsplit(".", 1)[-1] for layer in layers if "." in layer})
            raise UserError(f"target_modules: {target!r} is no linear layer of {folder}; {nearest(target, known)}")
    return [layer for layer in layers if any(_matches(layer, target) for target in targets)]


def lora_parameters(folder: Path | str, rank: int, targets: Sequence[str]) -> int:
    """Return the trainable parameters of an adapter; raises UserError for a rank above a layer's width."""
    layers = linear_shapes(folder)
    total = 0
    for name in target_names(folder, targets):
        inputs, outputs = layers[name]
        if rank > min(inputs, outputs):
            raise UserError(f"lora_rank must be at most {min(inputs, outputs)}, the width of {name}, got {rank}")
        total += rank * (inputs + outputs)
    return total


def total_parameters(folder: Path | str) -> int:
    """Return the parameters of the base: buffers and a tied head's copy are not counted."""
    shapes = tensor_shapes(Path(folder))
    tied = _is_tied(config_of(Path(folder)))
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if not name.endswith(BUFFERS + COUNTERS) and not (tied and name == f"{HEAD}.weight" and len(shapes) > 1)
    )


def check_not_quantized(folder: Path | str) -> None:
    """Raise UserError for a base whose weights on disk are quantized: NF4 is made from a plain one as it is loaded."""
    made = config_of(Path(folder)).get("quantization_config")
    if made:
        method = made.get("quant_method", "by an unknown method") if isinstance(made, dict) else made
        raise UserError(
            f"{folder} is quantized already ({method}) and cannot be quantized to NF4, nor trained as it is; "
            "take the model that it was made from, with quantization=nf4"
        )


def _is_tied(config: Mapping[str, object]) -> bool:
    return bool(config.get("tie_word_embeddings", True))


def _matches(layer: str, target: str) -> bool:
    return layer == target or layer.endswith(f".{target}")
