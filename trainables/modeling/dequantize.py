"""A 4-bit base whose weights are unpacked once, where memory allows: the same values, unpacked at no step any more.

bitsandbytes unpacks every NF4 weight in each forward pass and again in each backward pass. Unpacked once, a layer is a
plain linear layer over the very values that quantization left; what is lost is memory, so it is done only where the
unpacked weights take a small share of what the engine may use. What is free just now does not count, so that a sweep
that is continued beside another process computes as it began.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SHARE = 1 / 3  # of the memory, at most; the rest is for adapters and activations


def unpack_where_room(model: nn.Module, usable_bytes: int) -> bool:
    """Unpack the 4-bit weights of `model` in place, unless they would take too much; tells whether it was done.

    `usable_bytes`: what the engine may use in all.
    """
    layers = four_bit_layers(model)
    needed = sum(layer.weight.quant_state.shape.numel() * layer.compute_dtype.itemsize for _, layer in layers)
    if not layers or needed > SHARE * usable_bytes:
        return False
    for name, layer in layers:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, unpacked(layer))
    return True


def four_bit_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the 4-bit layers of a model by name."""
    import bitsandbytes

    return [(name, one) for name, one in model.named_modules() if isinstance(one, bitsandbytes.nn.Linear4bit)]


def unpacked(layer: Any) -> nn.Linear:
    """Return a plain layer over the values that a 4-bit layer computes with."""
    import bitsandbytes

    with torch.no_grad():
        weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        found = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        found.weight = nn.Parameter(weight.to(layer.compute_dtype), requires_grad=False)
        if layer.bias is not None:
            found.bias = nn.Parameter(layer.bias.data.to(layer.compute_dtype), requires_grad=False)
    return found.train(layer.training)
