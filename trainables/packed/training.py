"""Optimizer steps of adapters over one packed base: one adapter's at a time, or several adapters' in shared batches.

On a CPU an adapter alone takes its rows in strings, one behind another without padding (see `attention`); otherwise
see `multi_batch`. Each adapter has its own loss, its own clipping and its own optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainables.hardware.device_memory import give_back, is_out_of_memory
from trainables.modeling.attention import strung
from trainables.modeling.base_model import arithmetic, recomputes
from trainables.modeling.loss import Batch, completion_nll, row_of, string
from trainables.modeling.multi_lora import Adapter, Group, PackedBase
from trainables.modeling.peft_lora import Part
from trainables.packed.adapter_optimizer import Learner, Outcome, Turn
from trainables.packed.multi_batch import rounds, take
from trainables.trial.training_loop import MicroBatch

STRINGS_ON = ("cpu",)  # an adapter alone takes its rows one behind another; in a GPU a batch is as good


def take_steps(
    base: PackedBase, turns: Sequence[Turn], device: str, narrowed: Callable[[int], None] | None = None
) -> list[Outcome | Exception]:
    """Take the next optimizer step of each adapter; all are of one precision and one manner of checkpointing.

    Where memory does not suffice for a shared batch, `narrowed` is told that half as many train together from now on;
    where it does not for the micro-batch of one, its rows go one by one from now on. Where one fails otherwise, each
    adapter trains alone, and a fault is its owner's.
    """
    if len(turns) > 1 and any(base.adapts_head(turn.learner.adapter) for turn in turns):
        return _apart(base, turns, device, narrowed)
    try:
        return train_together(base, turns, device)
    except Exception as error:
        for turn in turns:
            turn.clear()
        if is_out_of_memory(error) and base.drop_graphs():
            give_back(device, error)
            return take_steps(base, turns, device, narrowed)
        if len(turns) == 1 and not (is_out_of_memory(error) and _can_split(base, turns[0])):
            return [error]
        failed = error
    size = 1
    # Its frames hold the whole batch, and weights by which no later batch could be captured.
    give_back(device, failed)
    if is_out_of_memory(failed):
        size = len(turns) // 2
        if len(turns) == 1:
            turns[0].learner.tokens_at_once, size = 0, 1
        elif narrowed is not None:
            narrowed(size)
    groups = [turns[start : start + size] for start in range(0, len(turns), size)]
    return [outcome for group in groups for outcome in take_steps(base, group, device, narrowed)]


def _apart(
    base: PackedBase, turns: Sequence[Turn], device: str, narrowed: Callable[[int], None] | None
) -> list[Outcome | Exception]:
    """Take the steps of adapters on the output head one by one: it sees the tokens of all in place of rows."""
    others = [turn for turn in turns if not base.adapts_head(turn.learner.adapter)]
    outcomes = iter(take_steps(base, others, device, narrowed) if others else [])
    return [
        take_steps(base, [turn], device, narrowed)[0] if base.adapts_head(turn.learner.adapter) else next(outcomes)
        for turn in turns
    ]


def train_together(base: PackedBase, turns: Sequence[Turn], device: str) -> list[Outcome | Exception]:
    """Take one optimizer step of each adapter in shared batches; raises what fails before the updates."""
    prepare_training(base, turns[0].learner.adapter)
    try:
        if len(turns) == 1 and _goes_in_strings(base, turns[0].learner, device):
            _take_strings(base, turns[0], device)
        else:
            for shares in rounds(base, turns):
                take(base, shares, device)
    finally:
        base.route.clear()
    return _update_all(turns)


def _update_all(turns: Sequence[Turn]) -> list[Outcome | Exception]:
    """Update the weights of each; a GPU is waited for once, however many there are."""
    measured = [_loss_and_norm(turn) for turn in turns]
    told = [one for one in measured if isinstance(one, Tensor)]
    numbers = iter(torch.stack(told).tolist() if told else [])
    return [
        _update(turn, *next(numbers)) if isinstance(one, Tensor) else one
        for turn, one in zip(turns, measured, strict=True)
    ]


def _loss_and_norm(turn: Turn) -> Tensor | Exception:
    assert turn.loss is not None
    try:
        return torch.stack([turn.loss.float(), turn.learner.norm()])
    except Exception as error:
        turn.is_spoiled = True
        return error


def _update(turn: Turn, loss: float, norm: float) -> Outcome | Exception:
    try:
        return Outcome(loss, turn.learner.step(norm), norm)
    except Exception as error:
        turn.is_spoiled = True
        return error


def _goes_in_strings(base: PackedBase, learner: Learner, device: str) -> bool:
    # The mask of an adapted head is drawn over the completion tokens of all rows.
    return (device in STRINGS_ON or learner.tokens_at_once == 0) and not base.adapts_head(learner.adapter)


def _can_split(base: PackedBase, turn: Turn) -> bool:
    """Tell whether rows of a step were taken together that can go one by one."""
    learner = turn.learner
    rows = sum(len(one.batch.input_ids_BT) for one in turn.micro)
    return rows > 1 and learner.tokens_at_once != 0 and not base.adapts_head(learner.adapter)


def _take_strings(base: PackedBase, turn: Turn, device: str) -> None:
    """Take a step's rows forward and backward without padding, each under its part of the masks."""
    adapter, step_tokens = turn.learner.adapter, turn.micro[0].step_tokens
    adapter.clock.step = turn.micro[0].step
    most = turn.learner.tokens_at_once if base.loaded.capabilities.sequence_packing else 0
    try:
        for rows in _strings(turn.micro, most):
            adapter.clock.parts = tuple(part for part, _ in rows)
            batch = string([one for _, one in rows]).to(device)
            base.route.send([Group(adapter, 0, 1)], training=True)
            lengths = [part.length for part, _ in rows]
            with strung(lengths if len(lengths) > 1 else ()):
                with arithmetic(adapter.train.precision, device):
                    nll_N = completion_nll(base.loaded, batch)
                loss = nll_N.sum() / step_tokens
                turn.learner.scaled(loss).backward()
            turn.loss = loss.detach() if turn.loss is None else turn.loss + loss.detach()
    finally:
        adapter.clock.parts = ()


def _strings(micro: Sequence[MicroBatch], most_tokens: int) -> list[list[tuple[Part, Batch]]]:
    """Return the rows of a step in strings of at most so many tokens, or of one row."""
    found: list[list[tuple[Part, Batch]]] = []
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
            found[-1].append((Part(one.micro, row, rows, tokens, length), batch))
    return found


def rehearse(base: PackedBase, adapter: Adapter, micro: MicroBatch, device: str) -> tuple[float, float]:
    """Take a micro-batch forward and backward and update nothing; returns its loss and gradient norm."""
    learner = Learner(adapter, device)
    learner.scaler = None
    loss, norm = rehearse_all(base, [Turn(learner, [micro])], device).tolist()
    return loss, norm


def rehearse_all(base: PackedBase, turns: Sequence[Turn], device: str) -> Tensor:
    """Take a step's batches forward and backward and update nothing; returns losses, then norms, on the device."""
    prepare_training(base, turns[0].learner.adapter)
    for turn in turns:
        turn.clear()
    try:
        for shares in rounds(base, turns):
            take(base, shares, device)
    finally:
        base.route.clear()
    losses = [turn.loss for turn in turns if turn.loss is not None]
    norms = [torch.linalg.vector_norm(turn.learner.adapter.flat_gradient) for turn in turns]
    for turn in turns:
        turn.clear()
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
