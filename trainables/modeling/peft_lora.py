"""The adapter of one trial: attached by PEFT, started and masked by generators of the trial's own.

Nothing here draws from the process's random state. The start of a layer is a function of (seed, layer), a dropout
mask of (seed, optimizer step, micro-batch, layer): a trial gives the same whether alone, packed or resumed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.config import TrainConfig
from trainables.model_files.load_pretrained import quiet
from trainables.modeling.lora_targets import by_peft, chosen
from trainables.records import atomic_files

ADAPTER = "default"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class RowSlice:
    """One row of a micro-batch (of `rows` padded to `tokens`) without its padding: its first `length` tokens."""

    micro: int
    row: int
    rows: int
    tokens: int
    length: int


@dataclass(frozen=True)
class Block:
    """One of the micro-batches that are now in the model as one batch, with its own rows and padded tokens."""

    micro: int
    rows: int
    tokens: int


@dataclass
class Clock:
    """The step and micro-batch now trained on: the training loop sets it, the dropout of every layer reads it."""

    seed: int
    step: int = 0  # of the optimizer, from 0
    micro: int = 0  # micro-batch within the step
    parts: tuple[
        RowSlice, ...
    ] = ()  # the rows now in the model one behind another, where they are not a whole micro-batch
    blocks: tuple[Block, ...] = ()  # the micro-batches now in the model, where they are padded or more than one
    masks: dict[str, Tensor] = field(default_factory=dict)  # of each layer, where a graph is to read what is filled in


def seed_of(*parts: object) -> int:
    """Return a seed below 2**63 that is a function of `parts` alone."""
    text = json.dumps([str(part) for part in parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class SeededDropout(nn.Module):
    """Inverted dropout whose mask is a function of (seed, step, micro-batch, layer).

    Recomputation under gradient checkpointing draws the same mask, since the clock stands still meanwhile.
    """

    def __init__(self, rate: float, clock: Clock, layer: str) -> None:
        super().__init__()
        self.rate = rate
        self.clock = clock
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Shape (rows, tokens, inputs) -> the same; the mask is drawn in fp32 whatever the arithmetic."""
        if not self.training:
            return x
        return x * self._mask(x) * (1 / (1 - self.rate))

    def _mask(self, x: Tensor) -> Tensor:
        """Return the mask of a micro-batch, or its parts for the rows that are now in the model: (tokens, inputs)."""
        parts, blocks = self.clock.parts, self.clock.blocks
        if self.layer in self.clock.masks:
            return self.clock.masks[self.layer].view(x.shape)
        if len(blocks) > 1 or (blocks and blocks[0].rows * blocks[0].tokens * x.shape[-1] != x.numel()):
            rows, inputs = sum(block.rows for block in blocks), x.shape[-1]
            mask_RTD = x.new_zeros(rows, x.numel() // (rows * inputs), inputs, dtype=torch.bool)
            self.fill(mask_RTD)
            return mask_RTD.view(x.shape)
        if not parts:
            return self._draw(self.clock.micro, x.shape, x.device)
        masks = {
            part.micro: self._draw(part.micro, (part.rows, part.tokens, x.shape[-1]), x.device)
            for part in {part.micro: part for part in parts}.values()
        }
        return torch.cat([masks[part.micro][part.row, : part.length] for part in parts])

    def fill(self, mask_RTD: Tensor) -> None:
        """Write the masks of the micro-batches now in the model; what is behind their tokens is never looked at."""
        start = 0
        for block in self.clock.blocks:
            mine = mask_RTD[start : start + block.rows, : block.tokens]
            torch.ge(self._chances(block.micro, tuple(mine.shape), mask_RTD.device), self.rate, out=mine)
            start += block.rows

    def _draw(self, micro: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        return self._chances(micro, shape, device) >= self.rate

    def _chances(self, micro: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
        generator = torch.Generator(device)
        generator.manual_seed(seed_of("dropout", self.clock.seed, self.clock.step, micro, self.layer))
        return torch.rand(shape, generator=generator, device=device)


def attach(base: Any, train: TrainConfig, clock: Clock) -> Any:
    """Return `base` with a fresh fp32 adapter (PEFT's model); `detach` gives the base back unchanged."""
    with quiet():  # PEFT imports bitsandbytes, which says what it does not find
        from peft import LoraConfig, get_peft_model

    names = chosen(base, train.target_modules, train.model)
    config = LoraConfig(
        r=train.lora_rank,
        lora_alpha=train.lora_alpha,
        lora_dropout=train.lora_dropout,
        target_modules=by_peft(base, train.target_modules, names),
        task_type="CAUSAL_LM",
        fan_in_fan_out=_has_conv1d(base, names),
        base_model_name_or_path=train.model,
    )
    with quiet():
        model = get_peft_model(base, config)
    # PEFT writes where the base was loaded from; a record names the model, wherever it lies.
    model.peft_config[ADAPTER].base_model_name_or_path = train.model
    for name, layer in _layers(model):
        weight = layer.lora_A[ADAPTER].weight
        layer.lora_A[ADAPTER].weight.data = start_of(train.seed, name, tuple(weight.shape)).to(weight.device)
        layer.lora_B[ADAPTER].weight.data = torch.zeros_like(layer.lora_B[ADAPTER].weight, dtype=torch.float32)
        if train.lora_dropout:
            layer.lora_dropout[ADAPTER] = SeededDropout(train.lora_dropout, clock, name)
    return model


def start_of(seed: int, layer: str, shape: tuple[int, ...]) -> Tensor:
    """Return the first A of a layer, shape (rank, inputs); the first B is zero."""
    # Kaiming with a = sqrt(5), as in the LoRA authors' code: uniform within 1 / sqrt(inputs).
    bound = 1 / math.sqrt(shape[1])
    generator = torch.Generator().manual_seed(seed_of("start", seed, layer))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def detach(model: Any) -> Any:
    """Remove the adapter and return the base as it was loaded."""
    with quiet():
        base = model.unload()
    if hasattr(base, "peft_config"):
        del base.peft_config
    base.requires_grad_(False)
    base.eval()
    return base


def adapter_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by the names that they have in an adapter file."""
    return {_file_name(name): value for name, value in model.named_parameters() if value.requires_grad}


def adapter_tensors(model: Any) -> dict[str, Tensor]:
    """Return a copy of the adapter's weights on the CPU, fp32, by their names in an adapter file."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in adapter_parameters(model).items()}


def set_adapter_tensors(model: Any, tensors: dict[str, Tensor]) -> None:
    """Load weights of adapter_tensors."""
    parameters = adapter_parameters(model)
    assert parameters.keys() == tensors.keys(), sorted(parameters.keys() ^ tensors.keys())
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def export_adapter(model: Any, folder: Path) -> tuple[int, str]:
    """Write the adapter in PEFT format; returns the size in bytes and SHA-256 of its weights."""
    return write_adapter(adapter_tensors(model), model.peft_config[ADAPTER].to_dict(), folder)


def write_adapter(tensors: dict[str, Tensor], peft: dict[str, Any], folder: Path) -> tuple[int, str]:
    """Write weights and PEFT's description of them whole or not at all; returns size in bytes and SHA-256."""
    from safetensors.torch import save

    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    temporary.chmod(0o755)
    try:
        atomic_files.write_bytes(temporary / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        config = {**peft, "inference_mode": True, "target_modules": sorted(peft["target_modules"])}
        atomic_files.write_text(
            temporary / "adapter_config.json", json.dumps(config, indent=1, sort_keys=True, default=str)
        )
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
        atomic_files.sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    weights = folder / WEIGHTS
    return weights.stat().st_size, atomic_files.sha256_of(weights)


def load_adapter(model: Any, folder: Path) -> None:
    """Load the weights of export_adapter into an attached adapter."""
    from safetensors.torch import load_file

    set_adapter_tensors(model, load_file(folder / WEIGHTS))


def _layers(model: Any) -> list[tuple[str, Any]]:
    """Return (name in the base, layer) of every adapted layer."""
    prefix = "base_model.model."
    return [(name.removeprefix(prefix), layer) for name, layer in model.named_modules() if hasattr(layer, "lora_A")]


def _file_name(parameter: str) -> str:
    return parameter.replace(f".{ADAPTER}.", ".")


def _has_conv1d(base: Any, names: list[str]) -> bool:
    """Conv1D keeps its weight as (in, out), which PEFT wants to be told; quantized it is an ordinary layer."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(base.get_submodule(name), Conv1D) for name in names)
