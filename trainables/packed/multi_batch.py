"""A batch that several adapters train in: whose its rows are, its one pass forward and backward, each adapter's loss.

Its first rows are the first adapter's, and so on. Of an adapter as many micro-batches of its step go together as its
tokens at once allow: a GPU takes a wide batch in the time of a narrow one. Rows are padded to the widest; each has its
own share of the sum that is differentiated, so no gradient of one adapter depends on another.

Where steps are replayed (see `train_graph`), tokens and completion tokens are padded further, to one of few numbers.

Shapes: B rows, T padded tokens, N completion tokens, as in `loss`; K adapters.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from trainables.modeling.base_model import arithmetic
from trainables.modeling.loss import Batch, completion_nll
from trainables.modeling.multi_lora import AdapterRows, PackedBase
from trainables.modeling.peft_lora import Block
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep
from trainables.trial.training_loop import MicroBatch

NOBODY = -1


@dataclass(frozen=True)
class AdapterShare:
    """The micro-batches of its step that one adapter has in a shared batch."""

    next_step: NextStep
    micro: Sequence[MicroBatch]

    @property
    def rows(self) -> int:
        return sum(len(one.batch.input_ids_BT) for one in self.micro)


@dataclass(frozen=True)
class SharedBatch:
    """A batch of several adapters, with the adapter and the weight in its loss of each completion token."""

    batch: Batch
    owner_N: Tensor  # the number of the adapter, in the order of the rows; nobody's is what only pads N
    weight_N: Tensor  # one over the completion tokens of the owner's step
    rows: tuple[int, ...]  # of each adapter
    is_static: bool  # T and N are of the few that graphs are made for

    def to(self, device: str) -> SharedBatch:
        there = self.batch.to(device), self.owner_N.to(device), self.weight_N.to(device)
        return SharedBatch(*there, self.rows, self.is_static)

    def copy_(self, other: SharedBatch) -> None:
        """Take over the numbers of a batch of the same shapes."""
        for name in Batch.__dataclass_fields__:
            getattr(self.batch, name).copy_(getattr(other.batch, name))
        self.owner_N.copy_(other.owner_N)
        self.weight_N.copy_(other.weight_N)


def rounds(base: PackedBase, next_steps: Sequence[NextStep]) -> list[list[AdapterShare]]:
    """Return the batches of a step of these adapters; one that has fewer micro-batches is not in the last ones."""
    tokens = max(one.batch.input_ids_BT.shape[1] for next_step in next_steps for one in next_step.micro)
    cut = [_cut(base, next_step, tokens) for next_step in next_steps]
    return [
        [
            AdapterShare(next_step, parts[number])
            for next_step, parts in zip(next_steps, cut, strict=True)
            if number < len(parts)
        ]
        for number in range(max(map(len, cut)))
    ]


def _cut(base: PackedBase, next_step: NextStep, tokens: int) -> list[Sequence[MicroBatch]]:
    """Return a step's micro-batches in as few equal parts as its tokens at once allow, each row padded to `tokens`."""
    micro, size = next_step.micro, len(next_step.micro)
    most_rows = next_step.optimizer.tokens_at_once // tokens
    if base.adapts_head(next_step.optimizer.adapter):
        most_rows = 0  # its mask is drawn over the completion tokens of one micro-batch
    while size > 1 and size * len(micro[0].batch.input_ids_BT) > most_rows:
        size = -(-size // 2)
    return [micro[start : start + size] for start in range(0, len(micro), size)]


def take(base: PackedBase, shares: Sequence[AdapterShare], device: str) -> None:
    """Take a batch forward and backward: adds to the gradients and the losses of its adapters."""
    shared = join(base, shares)
    start, groups = 0, []
    for share in shares:
        clock, alone = share.next_step.optimizer.adapter.clock, share.micro[0]
        clock.step, clock.micro = alone.step, alone.micro
        if not base.adapts_head(share.next_step.optimizer.adapter):
            clock.blocks = tuple(Block(one.micro, *one.batch.input_ids_BT.shape) for one in share.micro)
        groups.append(AdapterRows(share.next_step.optimizer.adapter, start, start + share.rows))
        start += share.rows
    base.route.send(groups, training=True)
    optimizers = [share.next_step.optimizer for share in shares]
    try:
        if base.graphs is not None and shared.is_static:
            losses_K = base.graphs.take(base, optimizers, shared, device)
        else:
            losses_K = forward_backward(base, optimizers, shared.to(device), device)
    finally:
        for optimizer in optimizers:
            optimizer.adapter.clock.blocks = ()
    for share, loss in zip(shares, losses_K.unbind(), strict=True):
        share.next_step.loss = loss if share.next_step.loss is None else share.next_step.loss + loss


def forward_backward(
    base: PackedBase, optimizers: Sequence[AdapterOptimizer], shared: SharedBatch, device: str
) -> Tensor:
    """Return each adapter's part of its loss, shape (K,), and add to its gradients."""
    with arithmetic(optimizers[0].adapter.train.precision, device):
        nll_N = completion_nll(base.loaded, shared.batch)
    # What is not an adapter's own is left out before the sum: times zero, another's NaN would be one here.
    is_others_KN = shared.owner_N != torch.arange(len(optimizers), device=nll_N.device)[:, None]
    losses_K = (nll_N * shared.weight_N).expand(len(optimizers), -1).masked_fill(is_others_KN, 0.0).sum(1)
    total = torch.stack(
        [optimizer.scaled(loss) for optimizer, loss in zip(optimizers, losses_K.unbind(), strict=True)]
    ).sum()
    weights = [weight for optimizer in optimizers for weight in optimizer.adapter.parameters.values()]
    found = torch.autograd.grad(total, weights, allow_unused=True)
    used = [(weight.grad, one) for weight, one in zip(weights, found, strict=True) if one is not None]
    sums = [total for total, _ in used if total is not None]
    assert len(sums) == len(used), "an adapter's gradients are views of its buffer from the start"
    torch._foreach_add_(sums, [one for _, one in used])  # one kernel, where `backward` adds weight by weight
    return losses_K.detach()


def join(base: PackedBase, shares: Sequence[AdapterShare]) -> SharedBatch:
    """Return the micro-batches of several adapters as one batch, on the CPU."""
    parts = [one.batch for share in shares for one in share.micro]
    starts = [0, *itertools.accumulate(len(part.input_ids_BT) for part in parts)]
    tokens, targets = max(part.input_ids_BT.shape[1] for part in parts), sum(len(part.target_N) for part in parts)
    # What pads N points at the first token, which therefore must not be one that counts.
    is_static = base.graphs is not None and int(parts[0].column_N[0]) > 0
    is_static = is_static and not any(
        base.adapts_head(adapter) or adapter.train.gradient_checkpointing
        for adapter in (share.next_step.optimizer.adapter for share in shares)
    )
    if is_static:
        tokens, targets = step_of(tokens), step_of(targets)
    rows_N = [part.row_N + start for part, start in zip(parts, starts, strict=False)]
    counts = torch.tensor([len(part.target_N) for part in parts])
    owners = torch.tensor([number for number, share in enumerate(shares) for _ in share.micro])
    weights = torch.tensor([1 / one.step_tokens for share in shares for one in share.micro])

    def filled(joined_N: Tensor, value: int = 0) -> Tensor:
        return pad(joined_N, (0, targets - len(joined_N)), value=value)

    batch = Batch(
        torch.cat([_widened(part.input_ids_BT, tokens) for part in parts]),
        torch.cat([_widened(part.position_ids_BT, tokens) for part in parts]),
        filled(torch.cat(rows_N)),
        filled(torch.cat([part.column_N for part in parts])),
        filled(torch.cat([part.target_N for part in parts])),
    )
    owner_N = filled(owners.repeat_interleave(counts), NOBODY)
    weight_N = filled(weights.repeat_interleave(counts))
    return SharedBatch(batch, owner_N, weight_N, tuple(share.rows for share in shares), is_static)


def step_of(count: int) -> int:
    """Return the next larger of few numbers, two to each doubling from 16 on: batches of few shapes share graphs."""
    step = 16
    while step * 4 < count:
        step *= 2
    return -(-count // step) * step


def _widened(values_BT: Tensor, width: int) -> Tensor:
    """Repeat the last column: what stands behind a row's end is never looked at."""
    rows, tokens = values_BT.shape
    return torch.cat([values_BT, values_BT[:, -1:].expand(rows, width - tokens)], dim=1)
