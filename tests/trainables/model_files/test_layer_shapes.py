"""Layers and parameter counts from safetensors headers, against the real libraries and known numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_inputs import REAL, TARGETS, write_model
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, PhiConfig

from trainables.errors import UserError
from trainables.model_files.layer_shapes import linear_shapes, lora_parameters, target_names, total_parameters


def meta_folder(folder: Path, config: GPT2Config | PhiConfig, small: bool = False) -> Path:
    """Write a model folder of which the header alone is right: no weight is stored."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight" or not tied(config)}
    header, offset = {}, 0
    for name, value in names.items():
        size = value.numel() * 2
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)  # a hole: no disk is used
    (folder / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    return folder


def tied(config: GPT2Config | PhiConfig) -> bool:
    return bool(config.tie_word_embeddings)


@pytest.fixture(scope="module")
def phi2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = PhiConfig(
        vocab_size=51200,
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        tie_word_embeddings=False,
    )
    return meta_folder(tmp_path_factory.mktemp("phi") / "phi-2", config)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meta_folder(tmp_path_factory.mktemp("gpt2") / "gpt2", GPT2Config())


def test_phi2_has_the_known_number_of_adapter_parameters(phi2: Path) -> None:
    attention = ("q_proj", "k_proj", "v_proj", "dense")
    assert lora_parameters(phi2, 16, attention) == 10_485_760
    assert lora_parameters(phi2, 16, (*attention, "fc1", "fc2")) == 23_592_960


@pytest.mark.parametrize(
    ("rank", "targets", "expected"),
    [
        (8, ("attn.c_attn",), 294_912),
        (16, ("c_attn",), 589_824),
        (8, ("c_attn", "c_proj", "c_fc"), 1_179_648),
        (16, ("c_attn", "c_proj", "c_fc"), 2_359_296),
    ],
)
def test_gpt2_has_the_known_number_of_adapter_parameters(
    gpt2: Path, rank: int, targets: tuple[str, ...], expected: int
) -> None:
    assert lora_parameters(gpt2, rank, targets) == expected
    assert total_parameters(gpt2) == 124_439_808


def test_a_bare_name_means_every_layer_that_ends_with_it(gpt2: Path) -> None:
    assert len(target_names(gpt2, ("c_proj",))) == 24
    assert len(target_names(gpt2, ("mlp.c_proj",))) == 12


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
def test_counts_equal_those_of_the_library(tmp_path: Path, family: str) -> None:
    folder = write_model(tmp_path / family, family)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert total_parameters(folder) == sum(parameter.numel() for parameter in model.parameters())
    for targets in (TARGETS[family], ("dense", "fc1") if family == "phi" else TARGETS[family]):
        adapted = get_peft_model(
            AutoModelForCausalLM.from_pretrained(folder), LoraConfig(r=3, target_modules=list(targets))
        )
        assert lora_parameters(folder, 3, targets) == adapted.get_nb_trainable_parameters()[0]


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
@pytest.mark.parametrize("name", ["stories260K-llama", "shakespeare-bytes-gpt2", "dialogue-7M-gpt2"])
def test_counts_of_real_models_equal_those_of_the_library(name: str) -> None:
    folder = REAL / "models" / name
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    assert total_parameters(folder) == sum(parameter.numel() for parameter in model.parameters())
    linear = {n for n, m in model.named_modules() if type(m).__name__ in ("Linear", "Conv1D") and n != "lm_head"}
    assert set(linear_shapes(folder)) - {"lm_head"} == linear


def test_a_missing_target_is_named_with_those_there_are(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"'c_atn' is no linear layer.*did you mean 'c_attn'.*c_fc"):
        target_names(gpt2, ("c_attn", "c_atn"))


def test_a_rank_above_the_width_of_a_layer_is_refused(gpt2: Path) -> None:
    assert lora_parameters(gpt2, 768, ("c_attn",)) > 0
    with pytest.raises(UserError, match="at most 768"):
        lora_parameters(gpt2, 769, ("c_attn",))


def test_a_folder_without_safetensors_or_with_a_torn_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        linear_shapes(tmp_path)
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "config.json").write_text("{}", encoding="utf-8")
    save_file({"a.weight": torch.zeros(4, 4)}, torn / "model.safetensors")
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:20])
    with pytest.raises(UserError, match="is not a safetensors file"):
        linear_shapes(torn)
