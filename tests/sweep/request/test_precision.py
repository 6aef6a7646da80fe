"""What `precision: auto` means on a processor, by its instructions and the size of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweep.environment.devices import GAINS_BY_BF16, Device, Gpu, resolve_precision
from trainables.hardware import machine
from trainables.pocket import model_folder

CPU = Device("cpu", (), 2)


def model_of(folder: Path, parameters: int) -> str:
    """Write a model of so many parameters, as far as its header tells: the weights are a hole in the file."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    tensor = {"wte.weight": {"dtype": "F16", "shape": [parameters // 1000, 1000], "data_offsets": [0, 2 * parameters]}}
    header = json.dumps(tensor).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2 * parameters)
    return str(folder)


def test_a_large_model_is_computed_in_bf16_where_the_processor_multiplies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = model_of(tmp_path / "large", GAINS_BY_BF16), model_of(tmp_path / "small", GAINS_BY_BF16 - 1000)
    monkeypatch.setattr(machine, "multiplies_bf16", lambda: True)
    assert resolve_precision(CPU, [large]) == resolve_precision(CPU, [small, large]) == "bf16"
    assert resolve_precision(CPU, [small]) == resolve_precision(CPU, [str(model_folder())]) == "fp32"
    monkeypatch.setattr(machine, "multiplies_bf16", lambda: False)
    assert resolve_precision(CPU, [large]) == "fp32"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_decides_by_its_compute_capability(capability: tuple[int, int], precision: str) -> None:
    assert resolve_precision(Device("cuda", (Gpu("a GPU", capability, 2**34),)), []) == precision
