"""What the arithmetic asks for: floating-point operations of a training step, and bytes of a decoded token (no torch).

Counted is what cannot be avoided when an adapter trains over a frozen base, and nothing else: per non-padding token
and frozen weight 4 operations (forward, and the gradient of the input; a frozen weight has no gradient of its own),
the output head and the last layer's MLP at completion tokens alone, attention between a token and those that it sees,
and the adapter. Norms, activations, the embedding, the loss, the optimizer, padding and anything computed twice count
nothing.

Shapes: T tokens of a row, N completion tokens of it, D width of attention, r rank.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.config import TrainConfig
from trainables.model_files.layer_shapes import PRECISION_BYTES, linear_shapes, target_names, tensor_shapes
from trainables.tokenization.token_rows import TokenRow

TRAIN_PER_WEIGHT, READ_PER_WEIGHT = 4, 2
NF4_BYTES = 0.5 + 1 / 64  # a scale of a byte for each 64 weights, the scales' own scales left out


@dataclass(frozen=True)
class Shape:
    """What of a model's configuration decides how much is to be computed."""

    layers: int
    attention_width: int  # heads times width of a head
    cache_width: int  # the same of keys, and of values
    linear: dict[str, tuple[int, int]]  # (inputs, outputs) of every linear layer but the head
    head: tuple[int, int]  # (inputs, vocabulary)

    @property
    def block_weights(self) -> int:
        return sum(math.prod(shape) for shape in self.linear.values())

    @property
    def tail_weights(self) -> int:
        """Weights of the last layer's MLP, where it has the usual name."""
        last = f".{self.layers - 1}.mlp."
        return sum(math.prod(shape) for name, shape in self.linear.items() if last in name)

    @property
    def head_weights(self) -> int:
        return math.prod(self.head)


def shape_of(folder: Path) -> Shape:
    """Read a model's shape from its folder."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def value(*names: str) -> int:
        return int(next(config[name] for name in names if config.get(name)))

    width, heads = value("hidden_size", "n_embd"), value("num_attention_heads", "n_head")
    head_width = config.get("head_dim") or width // heads
    cache_heads = config.get("num_key_value_heads") or heads
    linear = {name: shape for name, shape in linear_shapes(folder).items() if not name.endswith("lm_head")}
    embeddings = [
        shape for name, shape in tensor_shapes(folder).items() if name.endswith(("wte.weight", "tokens.weight"))
    ]
    vocabulary = embeddings[0][0] if embeddings else value("vocab_size")
    return Shape(
        value("num_hidden_layers", "n_layer"),
        heads * head_width,
        cache_heads * head_width,
        linear,
        (width, vocabulary),
    )


def adapter_weights(folder: Path, train: TrainConfig) -> int:
    """Return the weights of a trial's adapter."""
    shapes = linear_shapes(folder)
    return sum(train.lora_rank * sum(shapes[name]) for name in target_names(folder, train.target_modules))


def training_flop(shape: Shape, adapter: int, rows: Iterable[TokenRow]) -> int:
    """Return the operations of a forward and backward pass over rows, by an adapter of so many weights."""
    total = 0
    for row in rows:
        tokens, completion = len(row.prompt_ids) + len(row.target_ids), len(row.target_ids)
        at_all, at_completion = shape.block_weights - shape.tail_weights, shape.head_weights + shape.tail_weights
        total += TRAIN_PER_WEIGHT * (tokens * at_all + completion * at_completion)
        # Scores and mixing, forward once and backward twice, over the pairs that causality allows.
        total += 3 * 2 * 2 * _pairs(tokens) * shape.attention_width * shape.layers
        total += 6 * tokens * adapter  # an adapter has gradients of its own beside those of its input
    return total


def _pairs(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


@dataclass(frozen=True)
class Decoded:
    """What the decoding of several texts at once needs, from the second new token to the last."""

    flop: int
    bytes: int
    tokens: int


def decoding(
    shape: Shape,
    precision: str,
    adapters: Sequence[int],
    prompts: Sequence[int],
    new: Sequence[int],
    is_packed: bool = False,
) -> Decoded:
    """Count the decoding of texts of `new` tokens after prompts of `prompts` tokens, after the prefill.

    Bytes: the base's weights once per position for all texts together, each adapter's (fp32) once per position, and
    each text's cache. `adapters` are the weights of the adapters that decode. `is_packed`: the blocks' weights are read
    in 4 bits.
    """
    flop = moved = 0
    weights = shape.block_weights + shape.head_weights
    mean_adapter = sum(adapters) / len(adapters) if adapters else 0
    for position in range(1, max(new)):
        going = [prompt + position for prompt, length in zip(prompts, new, strict=True) if length > position]
        cached = 2 * sum(going) * shape.cache_width * shape.layers
        moved += int(shape.block_weights * (NF4_BYTES if is_packed else PRECISION_BYTES[precision]))
        moved += (shape.head_weights + cached) * PRECISION_BYTES[precision] + 4 * sum(adapters)
        flop += READ_PER_WEIGHT * len(going) * int(weights + mean_adapter)
        flop += 2 * 2 * sum(going) * shape.attention_width * shape.layers
    return Decoded(flop, moved, sum(length - 1 for length in new))
