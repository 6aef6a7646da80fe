"""A key-value cache for rows of unequal length, so that they decode together and none is padded.

Rows whose text so far is equally long form a segment with buffers of its own; attention goes segment by segment over
exactly the tokens that there are. A row's arithmetic is that of the row alone, whoever decodes beside it, and the
linear layers see all rows at once. To the library's `generate` it is a cache of rows padded on the left to one width.

Shapes: R rows, H query heads, G key heads, T tokens, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import DynamicCache, DynamicLayer

from trainables.kv_cache import cpu_kernel


@dataclass
class Segment:
    """Keys and values of rows of one length, in buffers (rows, G, room, D); the first `length` tokens count."""

    rows: list[int]  # of the batch
    keys: Tensor
    values: Tensor
    length: int

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Append one token, shape (rows, G, D)."""
        self.keys[:, :, self.length] = keys
        self.values[:, :, self.length] = values
        self.length += 1

    def select(self, kept: dict[int, int]) -> Segment | None:
        """Return the segment of those rows that are kept, under their new numbers."""
        places = [place for place, row in enumerate(self.rows) if row in kept]
        if not places:
            return None
        rows = [kept[self.rows[place]] for place in places]
        if len(places) == len(self.rows):
            return Segment(rows, self.keys, self.values, self.length)
        return Segment(rows, self.keys[places], self.values[places], self.length)


class RaggedLayer(DynamicLayer):
    """One layer's keys and values, in segments of rows of one length; `seen` counts tokens as if padded on the left."""

    is_croppable = False

    def __init__(self, segments: list[Segment], seen: int) -> None:
        super().__init__()
        self.is_initialized = True
        self.seen = seen
        self._arrange(segments)

    def _arrange(self, segments: list[Segment]) -> None:
        self.segments = segments
        device = segments[0].keys.device
        self.order = torch.tensor([row for segment in segments for row in segment.rows], device=device)
        self.inverse = torch.argsort(self.order)
        self.table = _table(segments)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Append one token of every row, shape (R, G, 1, D); attention is asked of the layer itself."""
        assert key_states.shape[2] == 1, "a ragged cache takes one token at a time"
        self.seen += 1
        if self.table is not None:
            self.table.append(key_states[:, :, 0], value_states[:, :, 0])
            for segment in self.segments:
                segment.length += 1
            return self, self
        keys, values = (states[:, :, 0].index_select(0, self.order) for states in (key_states, value_states))
        start = 0
        for segment in self.segments:
            stop = start + len(segment.rows)
            segment.write(keys[start:stop], values[start:stop])
            start = stop
        return self, self

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """Return (R, 1, H, D) for one query a row, (R, H, 1, D); arithmetic in fp32, which a CPU does faster."""
        rows, heads, _, width = query.shape
        if self.table is not None:
            return self.table.attend(query[:, :, 0], scale).unsqueeze(1).to(query.dtype)
        groups = self.segments[0].keys.shape[1]
        # Query heads that share a key head stand together: they are the queries of one attention.
        query_RGQD = query.view(rows, groups, heads // groups, width).float().index_select(0, self.order)
        found, start = [], 0
        # Autocast would turn everything back to bf16, in which this kernel is several times slower.
        with torch.autocast(query.device.type, enabled=False):
            for segment in self.segments:
                stop = start + len(segment.rows)
                keys, values = (x[:, :, : segment.length].float() for x in (segment.keys, segment.values))
                found.append(scaled_dot_product_attention(query_RGQD[start:stop], keys, values, scale=scale))
                start = stop
        out = torch.cat(found).index_select(0, self.inverse)
        return out.reshape(rows, 1, heads, -1).to(query.dtype)

    def get_seq_length(self) -> int:
        return self.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def batch_select_indices(self, indices: Tensor) -> None:
        kept = {row: number for number, row in enumerate(indices.tolist())}
        chosen = [segment.select(kept) for segment in self.segments]
        self._arrange([segment for segment in chosen if segment is not None])


def _table(segments: list[Segment]) -> cpu_kernel.RowPointers | None:
    """Return the rows for the compiled functions, where they are to be had for such states."""
    if not all(cpu_kernel.takes(segment.keys, segment.values) for segment in segments):
        return None
    library = cpu_kernel.library()
    if library is None:
        return None
    rows = {
        row: (segment.keys[place], segment.values[place], segment.length)
        for segment in segments
        for place, row in enumerate(segment.rows)
    }
    ordered = [rows[row] for row in sorted(rows)]
    return cpu_kernel.RowPointers(
        library, [(keys, values) for keys, values, _ in ordered], [length for *_, length in ordered]
    )


@dataclass(frozen=True)
class Prefill:
    """The states of prompts read in one batch, the numbers that their rows have in decoding, and their lengths."""

    rows: Sequence[int]
    lengths: Sequence[int]
    cache: DynamicCache


class RaggedFiller:
    """Collects the states of prompts, batch by batch, into segments with room for `room` more tokens."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.layers: list[list[Segment]] = []

    def add(self, prefill: Prefill) -> None:
        """Keep the first `lengths` tokens of each row of a batch that was padded on the right."""
        if not self.layers:
            self.layers = [[] for _ in prefill.cache.layers]
        for length in sorted(set(prefill.lengths)):
            places = [place for place, one in enumerate(prefill.lengths) if one == length]
            rows = [prefill.rows[place] for place in places]
            for segments, layer in zip(self.layers, prefill.cache.layers, strict=True):
                keys, values = (self._roomy(states, places, length) for states in (layer.keys, layer.values))
                segments.append(Segment(rows, keys, values, length))

    def _roomy(self, states: Any, places: list[int], length: int) -> Tensor:
        _, groups, _, width = states.shape
        buffer: Tensor = states.new_empty(len(places), groups, length + self.room, width)
        buffer[:, :, :length] = states[places, :, :length]
        return buffer

    def cache(self, config: Any, seen: int) -> DynamicCache:
        """Return the cache of all rows, as one padded on the left to `seen` tokens."""
        cache = DynamicCache(config=config)
        cache.layers = [RaggedLayer(segments, seen) for segments in self.layers]
        return cache
