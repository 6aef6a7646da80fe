"""Optimizer steps of adapters over one packed base: one adapter's at a time, or several adapters' in shared batches.

On a CPU an adapter alone takes its rows packed, one behind another without padding (see `attention`); otherwise
see `multi_batch`. Each adapter has its own loss, its own clipping and its own optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainables.hardware.device_memory import give_back, is_out_of_memory
from trainables.modeling.attention import packed_sequences
from trainables.modeling.base_model import arithmetic, recomputes
from trainables.modeling.loss import Batch, completion_nll, pack_rows, row_of
from trainables.modeling.multi_lora import Adapter, AdapterRows, PackedBase
from trainables.modeling.peft_lora import RowSlice
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep, StepResult
from trainables.packed.multi_batch import rounds, take
from trainables.trial.training_loop import MicroBatch

PACKED_ON = ("cpu",)  # an adapter alone takes its rows one behind another; in a GPU a batch is as good


def take_steps(
    base: PackedBase, next_steps: Sequence[NextStep], device: str, narrowed: Callable[[int], None] | None = None
) -> list[StepResult | Exception]:
    """Take the next optimizer step of each adapter; all are of one precision and one manner of checkpointing.

    Where memory does not suffice for a shared batch, `narrowed` is told that half as many train together from now on;
    where it does not for the micro-batch of one, its rows go one by one from now on. Where one fails otherwise, each
    adapter trains alone, and a fault is its owner's.
    """
    if len(next_steps) > 1 and any(base.adapts_head(next_step.optimizer.adapter) for next_step in next_steps):
        return _apart(base, next_steps, device, narrowed)
    try:
        return train_together(base, next_steps, device)
    except Exception as error:
        for next_step in next_steps:
            next_step.clear()
        if is_out_of_memory(error) and base.drop_graphs():
            give_back(device, error)
            return take_steps(base, next_steps, device, narrowed)
        if len(next_steps) == 1 and not (is_out_of_memory(error) and _can_split(base, next_steps[0])):
            return [error]
        failed = error
    size = 1
    # Its frames hold the whole batch, and weights by which no later batch could be captured.
    give_back(device, failed)
    if is_out_of_memory(failed):
        size = len(next_steps) // 2
        if len(next_steps) == 1:
            next_steps[0].optimizer.tokens_at_once, size = 0, 1
        elif narrowed is not None:
            narrowed(size)
    groups = [next_steps[start : start + size] for start in range(0, len(next_steps), size)]
    return [result for group in groups for result in take_steps(base, group, device, narrowed)]


def _apart(
    base: PackedBase, next_steps: Sequence[NextStep], device: str, narrowed: Callable[[int], None] | None
) -> list[StepResult | Exception]:
    """Take the steps of adapters on the output head one by one: it sees the tokens of all in place of rows."""
    others = [next_step for next_step in next_steps if not base.adapts_head(next_step.optimizer.adapter)]
    outcomes = iter(take_steps(base, others, device, narrowed) if others else [])
    return [
        take_steps(base, [next_step], device, narrowed)[0]
        if base.adapts_head(next_step.optimizer.adapter)
        else next(outcomes)
        for next_step in next_steps
    ]


def train_together(base: PackedBase, next_steps: Sequence[NextStep], device: str) -> list[StepResult | Exception]:
    """Take one optimizer step of each adapter in shared batches; raises what fails before the updates."""
    prepare_training(base, next_steps[0].optimizer.adapter)
    try:
        if len(next_steps) == 1 and _goes_packed(base, next_steps[0].optimizer, device):
            _take_packed(base, next_steps[0], device)
        else:
            for shares in rounds(base, next_steps):
                take(base, shares, device)
    finally:
        base.route.clear()
    return _update_all(next_steps)


def _update_all(next_steps: Sequence[NextStep]) -> list[StepResult | Exception]:
    """Update the weights of each; a GPU is waited for once, however many there are."""
    measured = [_loss_and_norm(next_step) for next_step in next_steps]
    told = [one for one in measured if isinstance(one, Tensor)]
    numbers = iter(torch.stack(told).tolist() if told else [])
    return [
        _update(next_step, *next(numbers)) if isinstance(one, Tensor) else one
        for next_step, one in zip(next_steps, measured, strict=True)
    ]


def _loss_and_norm(next_step: NextStep) -> Tensor | Exception:
    assert next_step.loss is not None
    try:
        return torch.stack([next_step.loss.float(), next_step.optimizer.norm()])
    except Exception as error:
        next_step.is_spoiled = True
        return error


def _update(next_step: NextStep, loss: float, norm: float) -> StepResult | Exception:
    try:
        return StepResult(loss, next_step.optimizer.step(norm), norm)
    except Exception as error:
        next_step.is_spoiled = True
        return error


def _goes_packed(base: PackedBase, optimizer: AdapterOptimizer, device: str) -> bool:
    # The mask of an adapted head is drawn over the completion tokens of all rows.
    return (device in PACKED_ON or optimizer.tokens_at_once == 0) and not base.adapts_head(optimizer.adapter)


def _can_split(base: PackedBase, next_step: NextStep) -> bool:
    """Tell whether rows of a step were taken together that can go one by one."""
    optimizer = next_step.optimizer
    rows = sum(len(one.batch.input_ids_BT) for one in next_step.micro)
    return rows > 1 and optimizer.tokens_at_once != 0 and not base.adapts_head(optimizer.adapter)


def _take_packed(base: PackedBase, next_step: NextStep, device: str) -> None:
    """Take a step's rows forward and backward without padding, each under its part of the masks."""
    adapter, step_tokens = next_step.optimizer.adapter, next_step.micro[0].step_tokens
    adapter.clock.step = next_step.micro[0].step
    most = next_step.optimizer.tokens_at_once if base.loaded.capabilities.sequence_packing else 0
    try:
        for rows in _packed_rows(next_step.micro, most):
            adapter.clock.parts = tuple(part for part, _ in rows)
            batch = pack_rows([one for _, one in rows]).to(device)
            base.route.send([AdapterRows(adapter, 0, 1)], training=True)
            lengths = [part.length for part, _ in rows]
            with packed_sequences(lengths if len(lengths) > 1 else ()):
                with arithmetic(adapter.train.precision, device):
                    nll_N = completion_nll(base.loaded, batch)
                loss = nll_N.sum() / step_tokens
                next_step.optimizer.scaled(loss).backward()
            next_step.loss = loss.detach() if next_step.loss is None else next_step.loss + loss.detach()
    finally:
        adapter.clock.parts = ()


def _packed_rows(micro: Sequence[MicroBatch], most_tokens: int) -> list[list[tuple[RowSlice, Batch]]]:
    """Return the rows of a step in packs of at most so many tokens, or of one row."""
    found: list[list[tuple[RowSlice, Batch]]] = []
    room = 0
    for one in micro:
        rows, tokens = one.batch.input_ids_BT.shape
        for row in range(rows):
            batch = row_of(one.batch, row)
            length = batch.input_ids_BT.shape[1]
            if not found or length > room:
                found.append([])
                room = most_tokens
            room -= length
            found[-1].append((RowSlice(one.micro, row, rows, tokens, length), batch))
    return found


def rehearse(base: PackedBase, adapter: Adapter, micro: MicroBatch, device: str) -> tuple[float, float]:
    """Take a micro-batch forward and backward and update nothing; returns its loss and gradient norm."""
    optimizer = AdapterOptimizer(adapter, device)
    optimizer.scaler = None
    loss, norm = rehearse_all(base, [NextStep(optimizer, [micro])], device).tolist()
    return loss, norm


def rehearse_all(base: PackedBase, next_steps: Sequence[NextStep], device: str) -> Tensor:
    """Take a step's batches forward and backward and update nothing; returns losses, then norms, on the device."""
    prepare_training(base, next_steps[0].optimizer.adapter)
    for next_step in next_steps:
        next_step.clear()
    try:
        for shares in rounds(base, next_steps):
            take(base, shares, device)
    finally:
        base.route.clear()
    losses = [next_step.loss for next_step in next_steps if next_step.loss is not None]
    norms = [torch.linalg.vector_norm(next_step.optimizer.adapter.flat_gradient) for next_step in next_steps]
    for next_step in next_steps:
        next_step.clear()
    return torch.stack([*losses, *norms])


def prepare_training(base: PackedBase, adapter: Adapter) -> None:
    """Put the base into the mode in which this adapter trains."""
    model, wanted = base.model, adapter.train.gradient_checkpointing
    if recomputes(model) != wanted:
        if wanted:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            model.gradient_checkpointing_disable()
    if not model.training:
        model.train()
