"""One reading of prompts with their references: it gives the losses, and the states that decoding starts from.

A row is prompt and reference, padded on the right to the bucket of its own length, exactly as a loss is computed. The
states of the prompt but for its last token, which decoding feeds, are kept; those of the reference are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers.cache_utils import DynamicCache

from trainables.jobs import Control, Interrupted
from trainables.kv_cache.ragged import Prefill, RaggedFiller
from trainables.kv_cache.static import StaticFiller
from trainables.modeling.base_model import LoadedBase, device_of
from trainables.modeling.loss import BUCKET_TOKENS, batches, collate, completion_nll, row_sums
from trainables.tokenization.token_rows import TokenRow

LossOf = tuple[float, int]
Send = Callable[[Sequence[int]], None]


class Filler(Protocol):
    """Collects the states of prompts, batch by batch, into a cache that decoding starts from."""

    def add(self, prefill: Prefill) -> None: ...

    def cache(self, config: Any, seen: int) -> DynamicCache: ...


def read_prompts(
    base: LoadedBase,
    rows: Sequence[TokenRow],
    filler: Filler,
    width: int,
    pad_id: int,
    budget_tokens: int,
    control: Control,
    send: Send | None,
) -> tuple[DynamicCache, list[LossOf | None]]:
    """Return the cache of all prompts that `filler` makes, and each reference's loss (None: no reference).

    `width`: of the batch that decodes, in tokens. `budget_tokens` padded tokens are read at once; `send` is told which
    rows they are. Raises Interrupted.
    """
    model = base.model
    losses: list[LossOf | None] = [None] * len(rows)
    lengths = [len(row.prompt_ids) + len(row.target_ids) for row in rows]
    device = device_of(model)
    for group in batches(lengths, lambda width: max(1, budget_tokens // width), BUCKET_TOKENS):
        if control() == "interrupt":
            raise Interrupted("interrupted while reading prompts")
        group = sorted(group)  # the rows of an adapter stand together
        batch = collate([rows[index] for index in group], pad_id).to(str(device))
        if send is not None:
            send(group)
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        with torch.no_grad():
            nll_N = completion_nll(base, batch, cache)
        for index, found in zip(group, row_sums(nll_N, batch, len(group)), strict=True):
            losses[index] = found if found[1] else None
        filler.add(Prefill(group, [len(rows[index].prompt_ids) - 1 for index in group], cache))
    return filler.cache(model.config.get_text_config(decoder=True), width - 1), losses


def filler_of(model: Any, lengths: Sequence[int], room: int) -> Filler:
    """Return the `Filler` for the model's device, for prompts of these lengths and `room` more tokens each."""
    return RaggedFiller(room) if device_of(model).type == "cpu" else StaticFiller(lengths, room)
