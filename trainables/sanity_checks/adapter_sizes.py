"""What adapters look like beside the layers that they adapt (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables.config import TrainConfig
from trainables.model_files import layer_shapes
from trainables.sanity_checks.wording import excerpt


def find(trains: Sequence[TrainConfig], folders: Mapping[str, str]) -> list[str]:
    """Name the layers whose adapter would hold as many numbers as the layer itself, or more; `folders` by model."""
    seen: dict[tuple[str, int, tuple[str, ...]], str] = {}
    for train in trains:
        if not train.is_baseline:
            key = (folders[train.model], train.lora_rank, train.target_modules)
            seen.setdefault(key, train.model)
    found = [said for (folder, rank, targets), model in seen.items() if (said := _larger(folder, rank, targets, model))]
    return found[:1]


def _larger(folder: str, rank: int, targets: Sequence[str], model: str) -> str | None:
    layers = layer_shapes.linear_shapes(Path(folder))
    names = layer_shapes.target_names(folder, targets)
    larger = [name for name in names if rank * sum(layers[name]) >= layers[name][0] * layers[name][1]]
    if not larger:
        return None
    inputs, outputs = layers[larger[0]]
    return (
        f"lora_rank {rank} makes the adapter of {len(larger)} of {len(names)} adapted layers of {excerpt(model)} as "
        f"large as the layer itself or larger ({larger[0]}: {inputs} x {outputs}): nothing is saved; lower lora_rank"
    )
