"""Rotary positions whose factors depend on how long a text is, chosen for each row by its own length.

Phi-3's long variants (longrope) have one set of factors for texts up to a length and another beyond. The library
chooses by the longest position of the batch, so that a short text is computed otherwise beside a long one. Here each
row has the factors that it would have alone.

Shapes: B rows, T tokens, D width of a head that is rotated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BY_LENGTH = "longrope"


def choose_by_row(model: Any) -> int | None:
    """Have every rotary embedding that chooses by length choose for each row.

    Returns the length up to which texts have one set of factors, None where all texts have the same.
    """
    found = [(module, tokens) for module in model.modules() if (tokens := _boundary_of(module)) is not None]
    for module, tokens in found:
        module.forward = _by_row(_fixed(module, tokens - 1), _fixed(module, tokens), tokens)
    return min((tokens for _, tokens in found), default=None)


def crosses(boundary: int | None, prompt_tokens: int, more_tokens: int) -> bool:
    """Tell whether so many more tokens take a prompt over the length at which its rotary factors change."""
    return boundary is not None and prompt_tokens <= boundary < prompt_tokens + more_tokens


def _boundary_of(module: nn.Module) -> int | None:
    if not type(module).__name__.endswith("RotaryEmbedding"):
        return None
    parameters = getattr(getattr(module, "config", None), "rope_parameters", None) or {}
    parts = [parameters, *(part for part in parameters.values() if isinstance(part, dict))]  # of each kind of layer
    lengths = [part["original_max_position_embeddings"] for part in parts if part.get("rope_type") == BY_LENGTH]
    return int(min(lengths)) if lengths else None


def _fixed(module: nn.Module, position: int) -> nn.Module:
    """Return a copy that keeps the factors which the library chooses where this is the longest position.

    The library changes a buffer in place at every choice, which modules that compute at the same time share.
    """
    fixed: Any = copy.deepcopy(module)
    device = next(iter(fixed.buffers())).device
    kinds = fixed.rope_type if isinstance(fixed.rope_type, dict) else None
    for kind in kinds or ("",):
        more = {"layer_type": kind} if kinds else {}
        fixed(torch.zeros(1, device=device), torch.tensor([[position]], device=device), **more)
    fixed.rope_type = dict.fromkeys(kinds, "default") if kinds else "default"
    return fixed


def _by_row(short: nn.Module, long: nn.Module, boundary: int) -> Callable[..., Any]:
    def forward(x: Tensor, position_ids: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        is_long_B = position_ids.amax(dim=-1) >= boundary
        count = int(is_long_B.sum())
        if count in (0, len(is_long_B)):
            found: tuple[Tensor, Tensor] = (long if count else short)(x, position_ids, *args, **kwargs)
            return found
        parts = [
            (of, module(x, position_ids[of], *args, **kwargs))
            for of, module in ((~is_long_B, short), (is_long_B, long))
        ]
        cos_BTD, sin_BTD = (one.new_empty(*position_ids.shape, one.shape[-1]) for one in parts[0][1])
        for of, (cos, sin) in parts:
            cos_BTD[of], sin_BTD[of] = cos, sin
        return cos_BTD, sin_BTD

    return forward
