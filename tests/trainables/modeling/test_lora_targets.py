"""Which layers can have an adapter: by PEFT's own rules, by transformers' classes, and by what text reaches."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_inputs import trial
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
from peft.utils import transformers_weight_conversion as moved
from transformers import AutoModelForCausalLM
from transformers.conversion_mapping import get_checkpoint_conversion_mapping

from benchmarks.families import write_family
from trainables.bases.load import load_base
from trainables.errors import UserError
from trainables.model_files import adaptable_layers
from trainables.model_files.layer_shapes import lora_parameters, target_names, total_parameters
from trainables.modeling.lora_targets import chosen
from trainables.modeling.multi_lora import PackedBase
from trainables.modeling.peft_lora import ADAPTER, Clock, attach, export_adapter
from trainables.modeling.peft_lora import _layers as adapted_layers
from trainables.packed.engine import peft_description

ODD = ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss", "mamba2", "gemma3")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {family: write_family(root / family, family) for family in ODD}


def test_the_copy_of_peft_s_rule_for_mamba_is_peft_s() -> None:
    def refuses(kind: str, name: str) -> bool:
        try:
            _check_lora_target_modules_mamba(
                LoraConfig(), SimpleNamespace(config=SimpleNamespace(model_type=kind)), name
            )
        except ValueError:
            return True
        return False

    kinds = {*adaptable_layers.MAMBA, "jamba", "bamba", "zamba2", "falcon_h1", "granitemoehybrid", "llama"}
    names = {*adaptable_layers.NOT_IN_MAMBA, "in_proj", "x_proj", "dt_proj", "q_proj"}
    ours = {
        (kind, name)
        for kind in kinds
        for name in names
        if adaptable_layers.refusal({"model_type": kind}, f"h.0.{name}")
    }
    assert ours == {(kind, name) for kind in kinds for name in names if refuses(kind, name)}


def test_the_copy_of_what_peft_moves_to_experts_is_peft_s() -> None:
    for pattern, kinds, names in (
        ("mixtral", adaptable_layers.MIXTRAL, adaptable_layers.NOT_IN_MIXTRAL),
        ("qwen2_moe", adaptable_layers.QWEN_MOE, adaptable_layers.NOT_IN_QWEN_MOE),
    ):
        known = {kind for kind, one in moved._MODEL_TO_CONVERSION_PATTERN.items() if one == pattern}
        assert kinds == {kind for kind in known if get_checkpoint_conversion_mapping(kind) is not None}
        assert names == moved._MOE_TARGET_MODULE_MAPPING[pattern].keys()


@pytest.mark.parametrize(
    ("family", "target", "reason"),
    [
        ("mixtral", "w1", "PEFT takes it for the experts' layer"),
        ("mixtral", "gate", "PEFT takes it"),
        ("qwen3_moe", "gate_proj", "PEFT takes it for the experts' layer"),
        # A dense layer and a shared expert have the name, too: PEFT would leave them out without a word.
        ("deepseek_v3", "down_proj", "PEFT takes it for the experts' layer"),
        ("gpt_oss", "router", "what chooses experts is no linear layer"),
        ("mamba2", "out_proj", "PEFT refuses it in mamba2"),
        ("gemma3", "fc1", "no text reaches it"),
        ("gemma3", "lm_head", "its weight is the embedding's"),
    ],
)
def test_a_layer_that_can_have_no_adapter_is_refused_with_its_reason(
    folders: dict[str, Path], family: str, target: str, reason: str
) -> None:
    with pytest.raises(UserError, match=f"{target!r} of .* can have no adapter: {reason}"):
        target_names(folders[family], (target,))
    if target == "lm_head":
        return
    base = load_base(folders[family], trial().train, "cpu").model
    with pytest.raises(UserError, match=f"{target!r} of tiny can have no adapter: {reason}"):
        chosen(base, (target,), "tiny")


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        ("mixtral", ("q_proj", "o_proj")),
        ("gpt_oss", ("v_proj",)),
        ("deepseek_v3", ("q_a_proj", "kv_b_proj")),
        ("mamba2", ("in_proj",)),
    ],
)
def test_what_is_counted_from_headers_is_what_peft_trains(
    folders: dict[str, Path], family: str, targets: tuple[str, ...]
) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folders[family])
    assert total_parameters(folders[family]) == sum(parameter.numel() for parameter in plain.parameters())
    adapted = get_peft_model(plain, LoraConfig(r=3, target_modules=list(targets), task_type="CAUSAL_LM"))
    assert lora_parameters(folders[family], 3, targets) == adapted.get_nb_trainable_parameters()[0]


def test_a_multimodal_model_has_adapters_where_text_goes_alone_and_peft_loads_them(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    folder, config = folders["gemma3"], trial(target_modules=("q_proj", "v_proj"), lora_rank=3).train
    counted = lora_parameters(folder, 3, config.target_modules)
    model = attach(load_base(folder, config, "cpu").model, config, Clock(0))
    names = [name for name, _ in adapted_layers(model)]
    assert len(names) == 4
    assert all("language_model" in name for name in names)
    assert model.get_nb_trainable_parameters()[0] == counted
    packed = PackedBase(load_base(folder, config, "cpu"), 0, 0)
    assert packed.target_names(config) == names
    assert packed.adapter(config, "cpu").count == counted
    assert peft_description(config, packed.peft_targets(config), False)["target_modules"] == names

    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    export_adapter(model, tmp_path / "adapter")
    plain: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "adapter")
    assert [name for name, _ in adapted_layers(plain)] == names
    ids = torch.arange(4, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, model.eval()(ids).logits, rtol=1e-4, atol=1e-5)
    assert plain.peft_config[ADAPTER].target_modules == set(names)


def test_plan_tells_experts_of_a_folder_with_fused_names_from_layers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dbrx", "num_experts": 2}), encoding="utf-8")
    weights = {f"h.0.{name}.weight": torch.zeros(8, 8) for name in ("q_proj", "experts.0.up_proj", "shared.up_proj")}
    save_file(weights, tmp_path / "model.safetensors")
    assert target_names(tmp_path, ("q_proj", "up_proj")) == ["h.0.q_proj", "h.0.shared.up_proj"]
