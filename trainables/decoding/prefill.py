"""One reading of prompts with their references: it gives the losses, and the states that decoding starts from.

A row is prompt and reference, padded on the right to the bucket of its own length, exactly as a loss is computed. The
states of the prompt but for its last token, which decoding feeds, are kept; those of the reference are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from trainables.jobs import Control, Interrupted
from trainables.kv_cache.ragged import Prefill, RaggedFiller
from trainables.kv_cache.static import StaticFiller
from trainables.modeling import attention
from trainables.modeling.base_model import agree, device_of
from trainables.modeling.loss import BUCKET_TOKENS, batches, collate, completion_nll, row_sums
from trainables.tokenization.token_rows import Row

CHECKED = "_reads_ragged"
LossOf = tuple[float, int]
Send = Callable[[Sequence[int]], None]


class Filler(Protocol):
    """Collects the states of prompts, batch by batch, into a cache that decoding starts from."""

    def add(self, prefill: Prefill) -> None: ...

    def cache(self, config: Any, seen: int) -> DynamicCache: ...


def read_prompts(
    model: Any,
    rows: Sequence[Row],
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
            nll_N = completion_nll(model, batch, cache)
        for index, found in zip(group, row_sums(nll_N, batch, len(group)), strict=True):
            losses[index] = found if found[1] else None
        filler.add(Prefill(group, [len(rows[index].prompt_ids) - 1 for index in group], cache))
    return filler.cache(model.config.get_text_config(decoder=True), width - 1), losses


def filler_of(model: Any, lengths: Sequence[int], room: int) -> Filler:
    """Return what collects the states of prompts of these lengths, with room for so many more tokens."""
    return RaggedFiller(room) if device_of(model).type == "cpu" else StaticFiller(lengths, room)


def try_ragged(model: Any) -> None:
    """Find out whether a base decodes rows of unequal length together, by doing it.

    Two prompts are read and one more token each: its logits must be those of the whole text, in the base's arithmetic.
    """
    setattr(model, CHECKED, _is_eligible(model) and _agrees(model, pad_id=0))


def reads_ragged(model: Any) -> bool:
    """Tell what `try_ragged` found."""
    return bool(getattr(model, CHECKED, False))


def _is_eligible(model: Any) -> bool:
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation != attention.NAME or getattr(model, "_is_stateful", False):
        return False
    layers = DynamicCache(config=config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def _agrees(model: Any, pad_id: int) -> bool:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    device = device_of(model)
    ids = [[(7 * token + 3 * row + 1) % vocabulary for token in range(5 + 3 * row)] for row in range(2)]
    rows = [Row(str(number), tuple(one), (one[0],), 0, True) for number, one in enumerate(ids)]
    width = max(len(one) for one in ids)
    padded = torch.tensor([[pad_id] * (width - len(one)) + one for one in ids], device=device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids], device=device)
    try:
        with torch.no_grad():
            filler = filler_of(model, [len(one) - 1 for one in ids], 1)
            cache, _ = read_prompts(model, rows, filler, width, pad_id, 64, lambda: "go", None)
            found = model(
                input_ids=padded[:, -1:], attention_mask=mask, past_key_values=cache,
                position_ids=mask.sum(1, keepdim=True) - 1,
            ).logits[:, -1]  # fmt: skip
            wanted = torch.stack([model(input_ids=torch.tensor([one], device=device)).logits[0, -1] for one in ids])
    except Exception:  # of a model that does something else with its cache: the library's own way is there for it
        return False
    return agree(found, wanted, found.dtype)
