"""Attention where the library's is slow or pads: rows of unequal length, packed rows, bf16 on a CPU.

Registered with transformers under one name that every base uses; whatever is none of these cases goes to the library's
own `sdpa`. Packed rows stand one behind another in the place of one row: the linear layers see all their
tokens at once and no padding, and here each row attends to itself alone. Measured for GPT-2's shape on one AVX512-BF16
core (docs/decisions/0031): forward and backward 9 ms against 19 ms; a token over 200 others 0.13 ms a row and layer
against 0.31 ms.

Shapes: R rows, H query heads, G key heads, T tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from trainables.kv_cache.ragged import RaggedLayer
from trainables.kv_cache.static import StaticLayer
from trainables.modeling.base_model import LoadedBase

NAME = "packed_rows"
LONGEST_TOKENS = 1024  # of plain products: their memory grows with the square
_lengths: ContextVar[tuple[int, ...]] = ContextVar("lengths", default=())
_whole: ContextVar[bool] = ContextVar("whole", default=False)
PLAIN = frozenset(("is_causal", "cache", "position_ids", "use_cache", "output_attentions", "num_items_in_batch"))


@contextmanager
def packed_sequences(lengths: Sequence[int]) -> Iterator[None]:
    """Let the one row of a batch be rows of these lengths in this block, also for what is recomputed backward."""
    token = _lengths.set(tuple(lengths))
    try:
        yield
    finally:
        _lengths.reset(token)


@contextmanager
def unmasked_rows(base: LoadedBase, ids_BT: Tensor) -> Iterator[Tensor | None]:
    """Let rows be read whole and without a mask; yields what to hand the model as one, None for its own attention.

    Without a mask the library looks at the positions whether rows are packed one behind another, for which a GPU is
    waited for, and no graph can be captured.
    """
    if not base.capabilities.packed_attention:
        yield None
        return
    token = _whole.set(True)
    try:
        yield torch.ones_like(ids_BT, dtype=torch.bool)
    finally:
        _whole.reset(token)


def register() -> None:
    """Make this module known to transformers under its name."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(**asked: Any) -> Tensor | None:
    """Return the library's mask, or none: packed rows are told apart by their lengths, and others are causal."""
    if _whole.get():  # causality hides what stands behind a row's end
        asked["attention_mask"] = None
    if _lengths.get() or _is_causal_alone(**asked):
        return None
    found: Tensor | None = sdpa_mask(**asked)
    return found


def _is_causal_alone(
    q_length: int,
    kv_length: int,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    use_vmap: bool = False,
    allow_is_bidirectional_skip: bool = False,
    **others: Any,
) -> bool:
    """Tell whether rows are read whole, without a window or a mask of their own.

    Positions that stop at a row's end look to the library like rows packed one behind another, for which it makes a
    mask that only its slower kernels take; here rows are padded on the right, where causality hides the padding.
    """
    is_changed = local_size is not None or use_vmap or allow_is_bidirectional_skip
    return attention_mask is None and not is_changed and 1 < q_length == kv_length


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor | RaggedLayer | StaticLayer,
    value: Tensor | RaggedLayer | StaticLayer,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return (R, T, H, D) for queries (R, H, T, D), in the manner of the library's attention functions."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(key, RaggedLayer | StaticLayer):
        unknown = [name for name, one in kwargs.items() if name not in PLAIN and one is not None]
        assert not unknown, f"attention over rows of unequal length knows no {', '.join(unknown)}"
        return key.attend(query, scale), None
    assert isinstance(value, Tensor)
    lengths = _lengths.get()
    if lengths:
        return _row_by_row(module, query, key, value, lengths, scaling=scale, dropout=dropout, **kwargs), None
    if _is_plain(query, key, attention_mask, kwargs):
        groups = getattr(module, "num_key_value_groups", 1)
        return _products(query, repeat_kv(key, groups), repeat_kv(value, groups), scale), None
    found: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )
    return found


def _row_by_row(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], **more: Any
) -> Tensor:
    """Return (1, T, H, D) for packed rows of these lengths."""
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    with packed_sequences(()):
        return torch.cat([attend(module, *part, None, **more)[0] for part in parts], dim=1)


def _is_plain(query: Tensor, key: Tensor, attention_mask: Tensor | None, kwargs: dict[str, Any]) -> bool:
    """Tell whether this is causal attention of a training step in bf16 on a CPU and nothing else."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and query.requires_grad
        and attention_mask is None
        and 1 < query.shape[2] == key.shape[2] <= LONGEST_TOKENS
        and kwargs.get("is_causal") is not False
        and all(name in PLAIN or value is None for name, value in kwargs.items())
    )


def _products(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Causal attention as two products and a softmax, which the CPU's bf16 instructions do fast."""
    rows, heads, tokens, _ = query.shape
    query, key, value = (x.reshape(rows * heads, tokens, x.shape[-1]) for x in (query, key, value))
    later = torch.full((tokens, tokens), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
    scores = torch.baddbmm(later, query, key.transpose(1, 2), alpha=scale)
    out = torch.bmm(torch.softmax(scores, dim=-1), value)
    return out.view(rows, heads, tokens, -1).transpose(1, 2).contiguous()
