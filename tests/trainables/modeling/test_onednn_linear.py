"""Linear layers over blocked weights: the same values and gradients, and only where they can be had."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, trial, write_model
from torch import nn

from benchmarks.families import write_family
from trainables.bases.load import load_base
from trainables.bases.loaded_bases import nbytes_of
from trainables.hardware import machine
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.dequantize import unpack_where_room
from trainables.modeling.multi_lora import PackedBase
from trainables.modeling.onednn_linear import BlockedLinear, block_where_room, is_possible, plain_layers

PLENTY = 2**33
pytestmark = [
    pytest.mark.processor,
    pytest.mark.skipif(not is_possible("cpu", torch.float32), reason="oneDNN's layouts are those of x86 processors"),
]


def base(folder: Path, family: str = "gpt2", **changes: Any) -> Any:
    return load_base(
        write_model(folder / family, family), trial(target_modules=TARGETS[family], **changes).train, "cpu"
    ).model


def logits_and_gradient(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of two texts, and the gradient of their sum of squares at the embeddings."""
    ids = torch.arange(26).view(2, 13) + 3
    embedded = model.get_input_embeddings()(ids).requires_grad_()
    logits = model(inputs_embeds=embedded).logits
    (logits.float() ** 2).sum().backward()
    assert embedded.grad is not None
    return logits.detach(), embedded.grad


needs_bf16 = pytest.mark.skipif(not is_possible("cpu", torch.bfloat16), reason="oneDNN blocks bf16 with AVX-512 alone")


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
@pytest.mark.parametrize(("precision", "relative"), [("fp32", 1e-5), pytest.param("bf16", 2e-2, marks=needs_bf16)])
def test_a_blocked_base_gives_the_logits_and_gradients_of_the_plain_one(
    tmp_path: Path, family: str, precision: str, relative: float
) -> None:
    model = base(tmp_path, family, precision=precision)
    names = [name for name, _ in plain_layers(model)]
    wanted = logits_and_gradient(model)
    assert block_where_room(LoadedBase(model), "cpu", PLENTY)
    assert plain_layers(model) == []
    assert all(isinstance(model.get_submodule(name), BlockedLinear) for name in names)
    for found, one in zip(logits_and_gradient(model), wanted, strict=True):
        assert (found - one).abs().max() <= relative * one.abs().max()


def test_a_bf16_base_keeps_its_weights_on_a_processor_without_avx512(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(machine.WITHOUT_AVX512, "1")
    model = base(tmp_path, precision="bf16")
    layers = plain_layers(model)
    assert not block_where_room(LoadedBase(model), "cpu", PLENTY)
    assert plain_layers(model) == layers
    assert is_possible("cpu", torch.float32)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_4_bit_base_that_was_unpacked_is_blocked_too(tmp_path: Path, family: str) -> None:
    model = base(tmp_path, family, quantization="nf4")
    assert unpack_where_room(model, 2**34)
    wanted = logits_and_gradient(model)
    assert block_where_room(LoadedBase(model), "cpu", PLENTY)
    for found, one in zip(logits_and_gradient(model), wanted, strict=True):
        assert (found - one).abs().max() <= 1e-5 * one.abs().max()


def test_a_layer_without_rows_and_one_cut_from_a_larger_tensor_are_computed(tmp_path: Path) -> None:
    plain = nn.Linear(32, 48)
    layer = BlockedLinear(plain)
    assert layer(torch.zeros(1, 0, 32)).shape == (1, 0, 48)
    cut = torch.randn(4, 6, 64)[:, ::2, :32]
    torch.testing.assert_close(layer(cut), plain(cut), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(torch.zeros(4, 31), id="narrower"),
        pytest.param(torch.zeros(4, 64), id="wider"),
        pytest.param(torch.zeros(()), id="a number"),
        pytest.param(torch.zeros(4, 32).to("meta"), id="another device"),
        pytest.param(torch.zeros(4, 32).long(), id="whole numbers"),
        pytest.param(torch.zeros(4, 32).to_sparse(), id="sparse"),
    ],
)
def test_inputs_of_another_kind_never_reach_a_blocked_product(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="blocked product: inputs"):
        BlockedLinear(nn.Linear(32, 48))(x)


def odd_layer(**changed: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(32, 48)
    for name, value in changed.items():
        setattr(layer, name, nn.Parameter(value, requires_grad=False))
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(nn.Linear(32, 48, device="meta"), id="another device"),
        pytest.param(nn.Linear(32, 48).double(), id="another dtype"),
        pytest.param(odd_layer(weight=torch.zeros(48, 32, 1)), id="a dimension too many"),
        pytest.param(odd_layer(bias=torch.zeros(47)), id="a bias too short"),
        pytest.param(odd_layer(bias=torch.zeros(48).bfloat16()), id="a bias of another dtype"),
    ],
)
def test_a_weight_of_another_kind_is_not_blocked(layer: nn.Linear) -> None:
    with pytest.raises(ValueError, match="blocked product: no weight"):
        BlockedLinear(layer)


def test_a_weight_is_held_twice_and_one_that_is_the_embedding_stays_as_well(tmp_path: Path) -> None:
    model = base(tmp_path)
    before = nbytes_of(LoadedBase(model))
    layers = sum(layer.weight.nbytes for _, layer in plain_layers(model))
    head = model.lm_head.weight.nbytes
    assert block_where_room(LoadedBase(model), "cpu", PLENTY)
    assert nbytes_of(LoadedBase(model)) == before + layers + head
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_weights_stay_as_they_are_where_two_copies_would_take_too_much(tmp_path: Path) -> None:
    model = base(tmp_path)
    layers = plain_layers(model)
    assert not block_where_room(LoadedBase(model), "cpu", 8 * sum(layer.weight.nbytes for _, layer in layers) - 1)
    assert plain_layers(model) == layers
    assert block_where_room(LoadedBase(model), "cpu", 8 * sum(layer.weight.nbytes for _, layer in layers))


def test_a_model_that_computes_with_its_weights_itself_keeps_them(tmp_path: Path) -> None:
    model = base(tmp_path)
    layers, head = plain_layers(model), model.lm_head
    attention = model.transformer.h[1].attn

    def itself(module: Any, inputs: Any, output: Any) -> Any:
        return (output[0] + attention.c_proj.weight.sum(), *output[1:])

    attention.register_forward_hook(itself)
    assert not block_where_room(LoadedBase(model), "cpu", PLENTY)
    assert plain_layers(model) == layers
    assert model.lm_head is head


def test_a_model_that_computes_with_its_weights_in_training_alone_keeps_them(tmp_path: Path) -> None:
    # Gemma 3n clamps coefficients of its own as it trains: losses were those of whatever the memory held.
    folder = write_family(tmp_path / "m", "gemma3n_text")
    model = load_base(folder, trial(target_modules=("q_proj",)).train, "cpu").model
    layers = plain_layers(model)
    assert not block_where_room(LoadedBase(model), "cpu", PLENTY)
    assert plain_layers(model) == layers
    assert not model.training


def test_the_weight_of_a_blocked_layer_is_told_about_and_never_computed_with() -> None:
    layer = BlockedLinear(nn.Linear(32, 48))
    assert layer.weight.shape == (48, 32)
    assert layer.weight.dtype == torch.float32
    assert copy.deepcopy(layer.weight) is layer.weight  # as a copy of the modules of a base has it
    for compute in (nn.functional.linear, torch.matmul, torch.add):
        with pytest.raises(TypeError, match="a blocked layer has no weight"):
            compute(torch.zeros(48, 32), layer.weight)
    with pytest.raises(TypeError, match="a blocked layer has no weight"):
        layer.weight.clamp(-1, 1)


def test_adapters_find_inputs_outputs_and_layout_of_blocked_layers(tmp_path: Path) -> None:
    config = trial(target_modules=("c_attn", "c_fc")).train
    model = base(tmp_path)
    plain = PackedBase(LoadedBase(model), 0, 0).adapter(config, "cpu").places
    model = base(tmp_path)
    assert block_where_room(LoadedBase(model), "cpu", PLENTY)
    packed = PackedBase(LoadedBase(model), 0, 0)
    assert packed.adapter(config, "cpu").places == plain
    assert packed.has_conv1d(config)
