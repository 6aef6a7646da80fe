"""Model folders as people's folders are found: what is wrong with each is put in here, in little."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine_inputs import write_model
from safetensors.torch import load_file, save_file

SHARED = Path(__file__).resolve().parents[3] / "shared"
CASES = SHARED / "cases" / "mkfolders.py"
Weights = dict[str, torch.Tensor]


def with_weights(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """Write a folder's weights as `change` makes them."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def with_json(folder: Path, name: str, **values: Any) -> Path:
    """Set values of a JSON file of a folder."""
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **values}))
    return folder


def in_shards(folder: Path) -> Path:
    """Split a folder's weights into two files and their index."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    names = sorted(weights)
    place = {
        name: f"model-{1 + (2 * number >= len(names)):05d}-of-00002.safetensors" for number, name in enumerate(names)
    }
    for shard in sorted(set(place.values())):
        save_file({n: weights[n] for n in names if place[n] == shard}, folder / shard, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
    return folder


def an_adapter(folder: Path, base: str | None = "some-lab/base") -> Path:
    """Lay an adapter of PEFT's into a Llama's folder."""
    weights = load_file(folder / "model.safetensors")
    found = {}
    for name, value in weights.items():
        if name.endswith("q_proj.weight"):
            layer = f"base_model.model.{name.removesuffix('.weight')}"
            found[f"{layer}.lora_A.weight"] = torch.randn(4, value.shape[1])
            found[f"{layer}.lora_B.weight"] = torch.randn(value.shape[0], 4)
    save_file(found, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return folder


def copy_of(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def shared_cases(out: Path) -> Path:
    """Make the folders of `../shared/cases` from the small trained Llama."""
    model = SHARED / "real" / "models" / "stories260K-llama"
    subprocess.run([sys.executable, str(CASES), str(model), str(out)], check=True, capture_output=True)
    return out


__all__ = ["write_model"]
