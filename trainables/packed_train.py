"""Optimizer steps of adapters over one packed base: one adapter's at a time, or several adapters' in shared batches.

On a CPU an adapter alone takes its rows in strings, one behind another without padding (see `attention`). Each adapter
has its own loss, its own clipping and its own optimizer; the sum of the losses is what is differentiated, and since
rows are apart and the base is frozen, no gradient of one adapter depends on another. Where several train in one batch,
its first rows are the first adapter's micro-batch, padded to the widest.

Shapes: B rows, T padded tokens, N completion tokens, as in `loss`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.attention import strung
from trainables.checkpoint import Checkpoint, Tensors
from trainables.lesson import MicroBatch
from trainables.lora import Part
from trainables.loss import Batch, completion_nll, row_of, string
from trainables.memory import give_back, is_out_of_memory
from trainables.model import arithmetic, recomputes
from trainables.optim import build_optimizer, load_optimizer_state, optimizer_state, rate_factor
from trainables.packed_lora import Adapter, Group, PackedBase
from trainables.strings import reads_strings

NORM_EPSILON = 1e-6  # of torch's clip_grad_norm_
FLAT = "flat"
STRING_TOKENS = {"cpu": 1024}  # rows of one step that go one behind another; in a GPU a batch is as good


@dataclass(frozen=True)
class Outcome:
    """An optimizer step: loss, learning rate, and gradient norm before clipping."""

    loss: float
    learning_rate: float
    grad_norm: float


class Learner:
    """The optimizer of one adapter: AdamW over its one buffer, an 8-bit or paged one over its tensors."""

    def __init__(self, adapter: Adapter, device: str, checkpoint: Checkpoint | None = None) -> None:
        train = adapter.train
        self.adapter = adapter
        self.done = 0  # steps of the schedule
        # Tokens of a step in one string: None where micro-batches go whole, 0 for a row at a time, as memory may ask.
        self.string_tokens = STRING_TOKENS.get(device.split(":")[0])
        self.is_flat = train.optimizer == "adamw_torch"
        self.parameters: Mapping[str, nn.Parameter] = adapter.parameters
        if self.is_flat:
            flat = nn.Parameter(adapter.flat)
            flat.grad = adapter.flat_gradient
            self.parameters = {FLAT: flat}
        self.optimizer = build_optimizer(train, self.parameters)
        self.scaler = torch.amp.GradScaler(device.split(":")[0]) if train.precision == "fp16" else None
        if checkpoint is not None:
            self._load(checkpoint)

    def _load(self, checkpoint: Checkpoint) -> None:
        self.adapter.set_tensors(checkpoint.adapter)
        self.done = int(checkpoint.facts.get("schedule_steps", checkpoint.step))
        if self.scaler is not None and "scaler" in checkpoint.facts:
            self.scaler.load_state_dict(checkpoint.facts["scaler"])
        if not self.is_flat:
            load_optimizer_state(self.optimizer, self.parameters, checkpoint.optimizer, checkpoint.optimizer_numbers)
            return
        state = self.optimizer.state[self.parameters[FLAT]]
        for entry, value in checkpoint.optimizer.items():
            name, key = entry.rsplit("|", 1)
            if key == "step":
                state[key] = value.to(self.adapter.flat.device, copy=True)
                continue
            if key not in state:
                state[key] = torch.zeros_like(self.adapter.flat)
            self.adapter.views(state[key])[name].copy_(value)

    def moments(self) -> tuple[Tensors, dict[str, dict[str, float]]]:
        """Return the optimizer's state as the solo engine keeps it: each weight's own."""
        if not self.is_flat:
            return optimizer_state(self.optimizer, self.parameters)
        tensors: Tensors = {}
        for key, value in self.optimizer.state.get(self.parameters[FLAT], {}).items():
            each = self.adapter.views(value) if value.dim() else dict.fromkeys(self.adapter.places, value)
            for name, one in each.items():
                tensors[f"{name}|{key}"] = one.detach().to("cpu", copy=True).contiguous()
        return tensors, {}

    def facts(self) -> dict[str, Any]:
        """Return what else a checkpoint needs."""
        return {"scaler": self.scaler.state_dict()} if self.scaler is not None else {}

    def scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scaler is None else self.scaler.scale(loss)

    def norm(self) -> Tensor:
        """Unscale the gradients and return their norm, on the device."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        return torch.linalg.vector_norm(self.adapter.flat_gradient)

    def step(self, norm: float) -> float:
        """Clip gradients of this norm, update and clear them; returns the learning rate."""
        train, gradient = self.adapter.train, self.adapter.flat_gradient
        rate = train.learning_rate * rate_factor(train, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if norm + NORM_EPSILON > train.max_grad_norm:
            gradient.mul_(train.max_grad_norm / (norm + NORM_EPSILON))
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif math.isfinite(norm):
            self.optimizer.step()
        self.done += math.isfinite(norm)
        gradient.zero_()
        return rate


@dataclass
class Turn:
    """One adapter's next optimizer step, counted from 0, in micro-batches."""

    learner: Learner
    micro: Sequence[MicroBatch]
    loss: Tensor | None = field(default=None)
    is_spoiled: bool = False  # the update failed halfway: only a checkpoint knows the weights before it

    def clear(self) -> None:
        """Forget what was accumulated, so that the step can be taken again."""
        self.loss = None
        self.learner.adapter.flat_gradient.zero_()


def take_steps(
    base: PackedBase, turns: Sequence[Turn], device: str, narrowed: Callable[[int], None] | None = None
) -> list[Outcome | Exception]:
    """Take the next optimizer step of each adapter; all are of one precision and one manner of checkpointing.

    Where memory does not suffice for a shared batch, `narrowed` is told that half as many train together from now on;
    where it does not for the micro-batch of one, its rows go one by one from now on. Where one fails otherwise, each
    adapter trains alone, and a fault is its owner's.
    """
    try:
        return train_together(base, turns, device)
    except Exception as error:
        for turn in turns:
            turn.clear()
        if len(turns) == 1 and not (is_out_of_memory(error) and _can_split(base, turns[0])):
            return [error]
        failed = error
    size = 1
    if is_out_of_memory(failed):
        size = len(turns) // 2
        give_back(device, failed)
        if len(turns) == 1:
            turns[0].learner.string_tokens, size = 0, 1
        elif narrowed is not None:
            narrowed(size)
    groups = [turns[start : start + size] for start in range(0, len(turns), size)]
    return [outcome for group in groups for outcome in take_steps(base, group, device, narrowed)]


def train_together(base: PackedBase, turns: Sequence[Turn], device: str) -> list[Outcome | Exception]:
    """Take one optimizer step of each adapter in shared batches; raises what fails before the updates."""
    prepare_training(base, turns[0].learner.adapter)
    try:
        if len(turns) == 1 and _goes_in_strings(base, turns[0].learner):
            _take_strings(base, turns[0], device)
        else:
            for number in range(max(len(turn.micro) for turn in turns)):
                _accumulate(base, [turn for turn in turns if number < len(turn.micro)], number, device)
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


def _accumulate(base: PackedBase, turns: Sequence[Turn], number: int, device: str) -> None:
    """Take micro-batch `number` of each adapter forward and backward."""
    micro = [turn.micro[number] for turn in turns]
    for turn, one in zip(turns, micro, strict=True):
        turn.learner.adapter.clock.step, turn.learner.adapter.clock.micro = one.step, one.micro
    batch, groups = join(micro, [turn.learner.adapter for turn in turns])
    base.route.send(groups, training=True)
    with arithmetic(turns[0].learner.adapter.train.precision, device):
        nll_N = completion_nll(base.model, batch.to(device))
    pieces = nll_N.split([len(one.batch.target_N) for one in micro])
    losses = [piece.sum() / one.step_tokens for piece, one in zip(pieces, micro, strict=True)]
    scaled = [turn.learner.scaled(loss) for turn, loss in zip(turns, losses, strict=True)]
    (torch.stack(scaled).sum() if len(scaled) > 1 else scaled[0]).backward()
    for turn, loss in zip(turns, losses, strict=True):
        turn.loss = loss.detach() if turn.loss is None else turn.loss + loss.detach()


def _goes_in_strings(base: PackedBase, learner: Learner) -> bool:
    # The mask of an adapted head is drawn over the completion tokens of all rows.
    return learner.string_tokens is not None and not base.adapts_head(learner.adapter)


def _can_split(base: PackedBase, turn: Turn) -> bool:
    """Tell whether rows of a step were taken together that can go one by one."""
    learner = turn.learner
    rows = sum(len(one.batch.input_ids_BT) for one in turn.micro)
    return rows > 1 and learner.string_tokens != 0 and not base.adapts_head(learner.adapter)


def _take_strings(base: PackedBase, turn: Turn, device: str) -> None:
    """Take a step's rows forward and backward without padding, each under its part of the masks."""
    adapter, step_tokens = turn.learner.adapter, turn.micro[0].step_tokens
    adapter.clock.step = turn.micro[0].step
    most = (turn.learner.string_tokens or 0) if reads_strings(base.model) else 0
    try:
        for rows in _strings(turn.micro, most):
            adapter.clock.parts = tuple(part for part, _ in rows)
            batch = string([one for _, one in rows]).to(device)
            base.route.send([Group(adapter, 0, 1, batch.input_ids_BT.shape[1])], training=True)
            lengths = [part.length for part, _ in rows]
            with strung(lengths if len(lengths) > 1 else ()):
                with arithmetic(adapter.train.precision, device):
                    nll_N = completion_nll(base.model, batch)
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


def join(micro: Sequence[MicroBatch], adapters: Sequence[Adapter]) -> tuple[Batch, list[Group]]:
    """Return the micro-batches of several adapters as one batch, and whose its rows are."""
    groups, row = [], 0
    for one, adapter in zip(micro, adapters, strict=True):
        rows, tokens = one.batch.input_ids_BT.shape
        groups.append(Group(adapter, row, row + rows, tokens))
        row += rows
    if len(micro) == 1:
        return micro[0].batch, groups
    width = max(group.tokens for group in groups)
    parts = [one.batch for one in micro]
    batch = Batch(
        torch.cat([_widened(part.input_ids_BT, width) for part in parts]),
        torch.cat([_widened(part.position_ids_BT, width) for part in parts]),
        torch.cat([part.row_N + group.start for part, group in zip(parts, groups, strict=True)]),
        torch.cat([part.column_N for part in parts]),
        torch.cat([part.target_N for part in parts]),
    )
    return batch, groups


def _widened(values_BT: Tensor, width: int) -> Tensor:
    """Repeat the last column: what stands behind a row's end is never looked at."""
    rows, tokens = values_BT.shape
    return torch.cat([values_BT, values_BT[:, -1:].expand(rows, width - tokens)], dim=1)


def rehearse(base: PackedBase, adapter: Adapter, micro: MicroBatch, device: str) -> tuple[float, float]:
    """Take a micro-batch forward and backward and update nothing; returns its loss and gradient norm."""
    learner = Learner(adapter, device)
    learner.scaler = None
    turn = Turn(learner, [micro])
    prepare_training(base, adapter)
    try:
        _accumulate(base, [turn], 0, device)
    finally:
        base.route.clear()
    assert turn.loss is not None
    norm = torch.linalg.vector_norm(adapter.flat_gradient).item()
    adapter.flat_gradient.zero_()
    return turn.loss.item(), norm


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
