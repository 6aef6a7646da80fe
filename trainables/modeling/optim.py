"""Optimizers and learning-rate schedules of an adapter, with state that is tensors and plain numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import TrainConfig
from trainables.model_files.load_pretrained import quiet

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def build_optimizer(train: TrainConfig, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """Return the trial's optimizer over all adapter weights, which have neither biases nor norms to exempt."""
    options: dict[str, Any] = {
        "lr": train.learning_rate,
        "betas": BETAS,
        "eps": EPSILON,
        "weight_decay": train.weight_decay,
    }
    values = list(parameters.values())
    if train.optimizer == "adamw_torch":
        return torch.optim.AdamW(values, fused=True, **options)
    import bitsandbytes

    kinds = {
        "paged_adamw_8bit": bitsandbytes.optim.PagedAdamW8bit,
        "paged_adamw_32bit": bitsandbytes.optim.PagedAdamW32bit,
    }
    with quiet():
        optimizer: torch.optim.Optimizer = kinds[train.optimizer](values, **options)
    return optimizer


def rate_factor(train: TrainConfig, step: int) -> float:
    """Return the share of the peak learning rate at optimizer step `step`, counted from 0.

    The same as transformers' linear, cosine and constant schedules: warm-up from 0, then decay to 0 at `max_steps`.
    """
    warmup = train.warmup_steps or math.ceil(train.warmup_ratio * train.max_steps)
    if step < warmup:
        return step / max(1, warmup)
    if train.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, train.max_steps - warmup))
    return 1.0 - progress if train.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))


def build_schedule(
    train: TrainConfig, optimizer: torch.optim.Optimizer, done: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the schedule as it stands after `done` optimizer steps."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(train, done + step))


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """Return ("parameter|key" -> tensor on the CPU, parameter -> key -> number) of all moments."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, float]] = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{name}|{key}"] = value.detach().to("cpu", copy=True).contiguous()
            else:
                assert isinstance(value, int | float), (name, key, type(value))
                numbers.setdefault(name, {})[key] = value
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Mapping[str, float]],
) -> None:
    """Load what optimizer_state returned; 8-bit codes and block scales keep their types."""
    for name, values in numbers.items():
        optimizer.state[parameters[name]].update(values)
    for entry, value in tensors.items():
        name, key = entry.rsplit("|", 1)
        parameter = parameters[name]
        # The step count of fused AdamW lies beside the weights; a copy keeps the file's memory unshared.
        optimizer.state[parameter][key] = value.to(parameter.device, copy=True)
