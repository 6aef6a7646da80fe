"""A key-value cache whose shapes stay: rows of unequal length decode together on a GPU, and a graph can replay a token.

Each row begins at the first column of one buffer per layer, and what stands behind its end is masked. Tokens behind a
row's end add exactly zero to its attention, so a row's arithmetic does not depend on how long the others are. A CPU
has `ragged` for this, which multiplies nothing that is masked; on a GPU one kernel over all rows is faster than many.

Shapes: R rows, H query heads, G key heads, W columns of the buffers, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import DynamicCache, DynamicLayer

from trainables.kv_cache.ragged import Prefill

WIDTH_STEP_TOKENS = 64


class RowLengths:
    """How many tokens each row has, in tensors that are changed in place; all layers of a cache share one."""

    def __init__(self, lengths: Sequence[int], width: int, device: torch.device) -> None:
        self.lengths_R = torch.tensor(lengths, device=device)
        self.columns_W = torch.arange(width, device=device)
        self._arrange()

    def _arrange(self) -> None:
        self.rows_R = torch.arange(len(self.lengths_R), device=self.lengths_R.device)
        self.last_R = self.lengths_R - 1  # where the newest token of each row stands
        self.mask_R11W = (self.columns_W < self.lengths_R[:, None])[:, None, None]

    def advance(self) -> None:
        """Make every row one token longer."""
        self.last_R.copy_(self.lengths_R)
        self.lengths_R.add_(1)
        self.mask_R11W.copy_((self.columns_W < self.lengths_R[:, None])[:, None, None])

    def select(self, indices: Tensor) -> None:
        """Keep the rows of these numbers, in this order."""
        self.lengths_R = self.lengths_R[indices]
        self._arrange()


class StaticLayer(DynamicLayer):
    """One layer's keys and values (R, G, W, D), of one shape; `seen` counts tokens as if padded on the left."""

    is_croppable = False
    keys: Any
    values: Any

    def __init__(self, keys: Tensor, values: Tensor, progress: RowLengths, seen: int, room: int, leads: bool) -> None:
        super().__init__()
        self.is_initialized = True
        self.keys, self.values = keys, values
        self.progress = progress
        self.seen, self.most = seen, seen + room
        self.leads = leads  # the first layer that a token meets

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append one token of every row, shape (R, G, 1, D); attention is asked of the layer itself."""
        assert key_states.shape[2] == 1, "a static cache takes one token at a time"
        self.count()
        progress = self.progress
        if self.leads:
            progress.advance()
        for buffer, states in ((self.keys, key_states), (self.values, value_states)):
            buffer[progress.rows_R, :, progress.last_R] = states[:, :, 0].to(buffer.dtype)
        return self, self

    def count(self) -> None:
        """Note one token more; a kernel that wrote behind the buffers would end the process's use of the GPU."""
        assert self.seen < self.most, "a static cache has no room for another token"
        self.seen += 1

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """Return (R, 1, H, D) for one query a row, (R, H, 1, D)."""
        rows, heads, _, width = query.shape
        groups = self.keys.shape[1]
        # Query heads that share a key head stand together: they are the queries of one attention.
        query_RGQD = query.view(rows, groups, heads // groups, width)
        out = scaled_dot_product_attention(
            query_RGQD, self.keys, self.values, attn_mask=self.progress.mask_R11W, scale=scale
        )
        return out.reshape(rows, 1, heads, -1)

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def batch_select_indices(self, indices: Tensor) -> None:
        if self.leads:
            self.progress.select(indices)
        self.keys, self.values = self.keys[indices], self.values[indices]


class StaticFiller:
    """Collects the states of prompts of these lengths, batch by batch, with room for `room` more tokens."""

    def __init__(self, lengths: Sequence[int], room: int) -> None:
        self.lengths, self.room = list(lengths), room
        self.width = -(-(max(lengths) + room) // WIDTH_STEP_TOKENS) * WIDTH_STEP_TOKENS
        self.buffers: list[tuple[Tensor, Tensor]] = []

    def add(self, prefill: Prefill) -> None:
        """Keep the rows of a batch that was padded on the right; what is behind their lengths is never looked at."""
        layers: Any = prefill.cache.layers
        if not self.buffers:
            self.buffers = [(self._empty(layer.keys), self._empty(layer.values)) for layer in layers]
        rows = torch.tensor(prefill.rows, device=self.buffers[0][0].device)
        for buffers, layer in zip(self.buffers, layers, strict=True):
            for buffer, states in zip(buffers, (layer.keys, layer.values), strict=True):
                tokens = min(states.shape[2], self.width)
                buffer[rows, :, :tokens] = states[:, :, :tokens]

    def _empty(self, states: Tensor) -> Tensor:
        """Return a buffer for all rows: zeros, for what is masked must be finite."""
        _, groups, _, width = states.shape
        return states.new_zeros(len(self.lengths), groups, self.width, width)

    def cache(self, config: Any, seen: int) -> DynamicCache:
        """Return the cache of all rows, as one padded on the left to `seen` tokens."""
        progress = RowLengths(self.lengths, self.width, self.buffers[0][0].device)
        cache = DynamicCache(config=config)
        cache.layers = [
            StaticLayer(keys, values, progress, seen, self.room, leads=number == 0)
            for number, (keys, values) in enumerate(self.buffers)
        ]
        return cache
