"""The loss: negative log-likelihood of the completion, end-of-text included, over its number of tokens.

One function for training and evaluation. Logits are computed at completion tokens alone: a hook hands the output head
just those hidden states, and another the last layer's MLP (see `last_mlp`). Rows are padded on the right to a length
fixed by the longest row's bucket and carry no mask: a causal model's tokens never see what follows them, and padding
is told by length, since its id may be the end-of-text.

Shapes: B rows, T padded tokens, N completion tokens of all rows, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.modeling.attention import unmasked_rows
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.last_mlp import completion_tokens_only
from trainables.tokenization.token_rows import TokenRow

BUCKET_TOKENS = 16
# Padded tokens of a batch whose loss is computed at once: on a CPU larger batches leave the caches.
LOSS_TOKENS = {"cpu": 2048, "cuda": 32768}


@dataclass(frozen=True)
class Batch:
    """Rows of token ids padded to one length, and where their completion tokens are."""

    input_ids_BT: Tensor
    position_ids_BT: Tensor
    row_N: Tensor  # row and column of the hidden state that predicts each completion token
    column_N: Tensor
    target_N: Tensor

    def to(self, device: str) -> Batch:
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def bucket(length: int, step: int = BUCKET_TOKENS) -> int:
    """Return the padded length of a row: a function of its own length alone."""
    return -(-length // step) * step


def collate(rows: Sequence[TokenRow], pad_id: int) -> Batch:
    """Return the rows as one batch, padded on the right to the longest row's bucket."""
    lengths = [len(row.prompt_ids) + len(row.target_ids) for row in rows]
    width = bucket(max(lengths))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    # Positions stop at a row's end: padding must not reach past a context that is no multiple of the bucket.
    positions = torch.arange(width).repeat(len(rows), 1)
    row_index: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        ids[index, :length] = torch.tensor(row.prompt_ids + row.target_ids)
        positions[index].clamp_(max=length - 1)
        row_index += [index] * len(row.target_ids)
        columns += range(len(row.prompt_ids) - 1, length - 1)
        targets += row.target_ids
    row_N, column_N, target_N = (torch.tensor(values, dtype=torch.long) for values in (row_index, columns, targets))
    return Batch(ids, positions, row_N, column_N, target_N)


def row_of(batch: Batch, row: int) -> Batch:
    """Return one row up to the token that predicts its last: nothing behind that has a part in the loss."""
    mine = batch.row_N == row
    column_N = batch.column_N[mine]
    stop = int(column_N.max()) + 1
    return Batch(
        batch.input_ids_BT[row : row + 1, :stop],
        batch.position_ids_BT[row : row + 1, :stop],
        torch.zeros_like(column_N),
        column_N,
        batch.target_N[mine],
    )


def pack_rows(rows: Sequence[Batch]) -> Batch:
    """Return batches of one row each as one row, one behind another; positions begin anew with each."""
    offsets = [0, *itertools.accumulate(row.input_ids_BT.shape[1] for row in rows)]
    return Batch(
        torch.cat([row.input_ids_BT for row in rows], dim=1),
        torch.cat([row.position_ids_BT for row in rows], dim=1),
        torch.cat([row.row_N for row in rows]),
        torch.cat([row.column_N + offset for row, offset in zip(rows, offsets, strict=False)]),
        torch.cat([row.target_N for row in rows]),
    )


def batches(lengths: Sequence[int], rows: Callable[[int], int], step: int) -> list[list[int]]:
    """Return indices in batches of equal padded length, at most `rows(length)` together, the longest first."""
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(bucket(length, step), []).append(index)
    found = []
    for width in sorted(groups, reverse=True):
        group, size = groups[width], rows(width)
        found += [group[start : start + size] for start in range(0, len(group), size)]
    return found


def completion_nll(base: LoadedBase, batch: Batch, cache: Any = None) -> Tensor:
    """Return the negative log-likelihood of each completion token, shape (N,), fp32; `cache` keeps the states."""
    with completion_only(base, batch), unmasked_rows(base, batch.input_ids_BT) as mask_BT:
        output = base.model(
            input_ids=batch.input_ids_BT,
            attention_mask=mask_BT,
            position_ids=batch.position_ids_BT,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    logits_NV = output.logits[0]
    assert logits_NV.shape[0] == batch.target_N.shape[0], (logits_NV.shape, batch.target_N.shape)
    return nn.functional.cross_entropy(logits_NV.float(), batch.target_N, reduction="none")


def completion_loss(base: LoadedBase, batch: Batch, tokens: int) -> Tensor:
    """Return this batch's share of a loss over `tokens` completion tokens: those of the whole accumulated step."""
    return completion_nll(base, batch).sum() / tokens


@contextmanager
def completion_only(base: LoadedBase, batch: Batch) -> Iterator[None]:
    """Let the output head see the hidden states that predict completion tokens alone: (B, T, D) -> (1, N, D)."""

    def select(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][batch.row_N, batch.column_N].unsqueeze(0), *inputs[1:])

    handle = base.model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        with completion_tokens_only(base, batch.row_N, batch.column_N):
            yield
    finally:
        handle.remove()


def row_sums(nll_N: Tensor, batch: Batch, rows: int) -> list[tuple[float, int]]:
    """Return (summed negative log-likelihood, tokens) of each row, summed in double precision."""
    sums = torch.zeros(rows, dtype=torch.float64, device=nll_N.device)
    sums.index_add_(0, batch.row_N, nll_N.double())
    counts = torch.bincount(batch.row_N, minlength=rows)
    return list(zip(sums.tolist(), counts.tolist(), strict=True))
