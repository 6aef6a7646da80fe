"""The frozen base, its dropout, and the adapter's own generators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_inputs import TARGETS, trial, write_model
from transformers import AutoModelForCausalLM

from trainables.bases.load import load_base
from trainables.errors import UserError
from trainables.modeling.base_model import LoadedBase, parameter_counts
from trainables.modeling.peft_lora import Clock, SeededDropout, adapter_tensors, attach, detach, seed_of


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
def test_the_base_has_no_dropout_and_its_loss_in_training_mode_is_that_in_evaluation_mode(
    tmp_path: Path, family: str
) -> None:
    folder = write_model(tmp_path / family, family)
    loaded = load_base(folder, trial().train, "cpu")
    base = loaded.model
    ids = torch.arange(1, 40).unsqueeze(0)
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits
        torch.testing.assert_close(base(ids).logits, expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(base.train()(ids).logits, base.eval()(ids).logits)
    if family == "gpt2":
        assert loaded.dropout_switched_off == {"attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1} | {
            "summary_first_dropout": 0.1
        }


def test_a_trial_gives_the_base_back_as_it_was(tmp_path: Path) -> None:
    config = trial().train
    base = load_base(write_model(tmp_path / "m"), config, "cpu").model
    before = {name: value.clone() for name, value in base.state_dict().items()}
    for _ in range(2):
        model = attach(base, config, Clock(1))
        assert parameter_counts(model)[0] == 2 * 4 * (32 + 96)
        base = detach(model)
        assert parameter_counts(base)[0] == 0
        after = base.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_start_of_an_adapter_depends_on_seed_and_layer_alone(tmp_path: Path) -> None:
    config = trial().train
    base = load_base(write_model(tmp_path / "m"), config, "cpu").model

    def start(process_seed: int, **changes: object) -> dict[str, torch.Tensor]:
        torch.manual_seed(process_seed)
        model = attach(base, config.model_copy(update=changes), Clock(0))
        tensors = adapter_tensors(model)
        detach(model)
        return tensors

    first, again, other = start(1), start(2), start(1, seed=43)
    wider = start(1, target_modules=("c_attn", "c_fc"))
    a = next(name for name in first if "lora_A" in name)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[a], other[a])
    assert torch.equal(first[a], wider[a])
    assert first[a].abs().max() <= 32**-0.5
    assert all(not value.any() for name, value in first.items() if "lora_B" in name)


def test_dropout_masks_depend_on_seed_step_micro_batch_and_layer_alone() -> None:
    def mask(step: int, micro: int, layer: str, seed: int = 7, process_seed: int = 0) -> torch.Tensor:
        torch.manual_seed(process_seed)
        clock = Clock(seed, step, micro)
        return SeededDropout(0.25, clock, layer)(torch.ones(4, 50, 20))

    first = mask(3, 1, "h.0")
    assert torch.equal(first, mask(3, 1, "h.0", process_seed=9))
    for other in (mask(4, 1, "h.0"), mask(3, 0, "h.0"), mask(3, 1, "h.1"), mask(3, 1, "h.0", seed=8)):
        assert not torch.equal(first, other)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert first.mean().item() == pytest.approx(1.0, abs=0.05)
    dropout = SeededDropout(0.25, Clock(0), "h.0").eval()
    assert torch.equal(dropout(torch.ones(3)), torch.ones(3))
    assert seed_of("a", 1) != seed_of("a1")


def test_gradient_checkpointing_recomputes_the_same_masks(tmp_path: Path) -> None:
    from trainables.modeling.loss import collate, completion_loss
    from trainables.tokenization.token_rows import TokenRow

    config = trial(lora_dropout=0.5).train
    base = load_base(write_model(tmp_path / "m"), config, "cpu").model
    batch = collate([TokenRow("a", tuple(range(1, 30)), (5, 6, 0), 0, True)], 0)

    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        model = attach(base, config, Clock(1, 2, 3))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.05)
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        completion_loss(LoadedBase(model), batch, 3).backward()
        found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        detach(model)
        base.gradient_checkpointing_disable()
        return found

    plain, recomputed = gradients(False), gradients(True)
    assert len(plain) == 4
    for left, right in zip(plain, recomputed, strict=True):
        assert left.abs().max() > 0
        # Recomputed layers have their last MLP whole, which rounds otherwise.
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
def test_adapters_and_their_gradients_are_fp32_over_a_bf16_base(tmp_path: Path, family: str) -> None:
    config = trial(precision="bf16", target_modules=TARGETS[family]).train
    base = load_base(write_model(tmp_path / family, family), config, "cpu").model
    assert {parameter.dtype for parameter in base.parameters()} == {torch.bfloat16}
    model = attach(base, config, Clock(0))
    assert {value.dtype for value in adapter_tensors(model).values()} == {torch.float32}


def test_a_base_that_is_quantized_in_another_way_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be quantized to NF4: .*GPTQ.*; take quantization=none"):
        load_base(folder, trial(quantization="nf4").train, "cpu")


def test_precision_and_device_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    with pytest.raises(UserError, match="fp32 or bf16 on a CPU"):
        load_base(folder, trial(precision="fp16").train, "cpu")
    with pytest.raises(UserError, match="must be resolved"):
        load_base(folder, trial(precision="auto").train, "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            load_base(folder, trial().train, "cuda")
