"""The states of prompts that were read without padding, as beams want them: padded on the left, once for each beam.

Beams reorder the library's own cache at every token, so that rows of a batch keep one width. What stands in the padding
is zero and masked; a row's states are those that were read, whoever decodes beside it.

Shapes: R rows, G key heads, T tokens, D width of a head.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache

from trainables.kv_cache.ragged import Prefill


class BeamFiller:
    """Collects the states of prompts, batch by batch, into a cache of `width` tokens with a row for each beam."""

    def __init__(self, rows: int, width: int, beams: int) -> None:
        self.rows, self.width, self.beams = rows, width, beams
        self.layers: list[tuple[Tensor, Tensor]] = []

    def add(self, prefill: Prefill) -> None:
        """Keep the first `lengths` tokens of each row of a batch that was padded on the right."""
        layers: Any = prefill.cache.layers
        if not self.layers:
            self.layers = [(self._empty(layer.keys), self._empty(layer.values)) for layer in layers]
        for buffers, layer in zip(self.layers, layers, strict=True):
            for buffer, states in zip(buffers, (layer.keys, layer.values), strict=True):
                for place, (row, length) in enumerate(zip(prefill.rows, prefill.lengths, strict=True)):
                    buffer[row, :, self.width - length :] = states[place, :, :length]

    def _empty(self, states: Tensor) -> Tensor:
        _, groups, _, width = states.shape
        return states.new_zeros(self.rows, groups, self.width, width)

    def cache(self, config: Any, seen: int) -> DynamicCache:
        """Return the cache of all rows and their beams; `seen` is the width in tokens."""
        assert seen == self.width
        cache = DynamicCache(config=config)
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, number)
        cache.batch_repeat_interleave(self.beams)
        return cache
