"""The optimizer of one adapter, the step that it is to take, and the result of a step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.modeling.multi_lora import Adapter
from trainables.modeling.optim import build_optimizer, load_optimizer_state, optimizer_state, rate_factor
from trainables.packed.pack_size import TOKENS_AT_ONCE
from trainables.records.checkpoint import Checkpoint, Tensors
from trainables.trial.training_loop import MicroBatch

NORM_EPSILON = 1e-6  # of torch's clip_grad_norm_
FLAT = "flat"


@dataclass(frozen=True)
class StepResult:
    """The numbers of an optimizer step: loss, learning rate, and gradient norm before clipping."""

    loss: float
    learning_rate: float
    grad_norm: float


class AdapterOptimizer:
    """The optimizer of one adapter: AdamW over its one buffer, an 8-bit or paged one over its tensors."""

    def __init__(self, adapter: Adapter, device: str, checkpoint: Checkpoint | None = None) -> None:
        train = adapter.train
        self.adapter = adapter
        self.done = 0  # steps of the schedule
        self.tokens_at_once = TOKENS_AT_ONCE  # 0 for a row at a time, as memory may ask
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
class NextStep:
    """One adapter's next optimizer step, counted from 0, in micro-batches."""

    optimizer: AdapterOptimizer
    micro: Sequence[MicroBatch]
    loss: Tensor | None = field(default=None)
    is_spoiled: bool = False  # the update failed halfway: only a checkpoint knows the weights before it

    def clear(self) -> None:
        """Forget what was accumulated, so that the step can be taken again."""
        self.loss = None
        self.optimizer.adapter.flat_gradient.zero_()
