"""A 4-bit base unpacked once: the same values, and only where there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, trial, write_model

from trainables.bases.load import load_base
from trainables.modeling.dequantize import four_bit_layers, unpack_where_room


def base(folder: Path, family: str) -> Any:
    config = trial(quantization="nf4", target_modules=TARGETS[family]).train
    return load_base(write_model(folder / family, family), config, "cpu").model


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
def test_an_unpacked_base_gives_the_logits_of_the_packed_one(tmp_path: Path, family: str) -> None:
    model = base(tmp_path, family)
    ids = torch.arange(24).view(2, 12) + 3
    with torch.no_grad():
        before = model(ids).logits
        assert four_bit_layers(model)
        assert unpack_where_room(model, 2**34)
        assert four_bit_layers(model) == []
        torch.testing.assert_close(model(ids).logits, before, rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_base_stays_4_bit_where_unpacking_would_take_too_much(tmp_path: Path) -> None:
    model = base(tmp_path, "gpt2")
    layers = len(four_bit_layers(model))
    assert not unpack_where_room(model, 1000)
    assert len(four_bit_layers(model)) == layers > 0
