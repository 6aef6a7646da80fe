"""NF4 bases: they train after an evaluation as before it, with the gradients of the dequantized model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bitsandbytes
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from engine_inputs import TARGETS, engine_of, record_of, train_losses, trial, write_model, write_sweep
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from trainables.bases.load import load_base
from trainables.errors import UserError
from trainables.jobs import go_on, no_report
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.loss import collate, completion_loss
from trainables.modeling.peft_lora import Clock, adapter_parameters, attach, detach
from trainables.tokenization.encoder import load_encoder
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.evaluate import ModelReader, losses

FAMILIES = ["gpt2", "phi", "llama"]
ROWS = [TokenRow(str(i), tuple(range(1 + i, 60 + i)), (7, 8, 9, 0), 0, True) for i in range(3)]


def gradients(base: LoadedBase, family: str, quantization: str) -> tuple[float, dict[str, torch.Tensor]]:
    config = trial(target_modules=TARGETS[family], quantization=quantization, lora_dropout=0.1).train
    model = attach(base.model, config, Clock(3))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    model.train()
    loss = completion_loss(replace(base, model=model), collate(ROWS, 0), 12)
    loss.backward()
    found = {name: value.grad.clone() for name, value in adapter_parameters(model).items() if value.grad is not None}
    detach(model)
    return loss.item(), found


@pytest.mark.parametrize("family", FAMILIES)
def test_training_after_an_evaluation_has_the_gradients_of_the_dequantized_model(tmp_path: Path, family: str) -> None:
    folder = write_model(tmp_path / family, family, width=64)
    config = trial(quantization="nf4").train
    base = load_base(folder, config, "cpu")
    quantized = {name for name, layer in base.model.named_modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)}
    assert quantized

    before = gradients(base, family, "nf4")
    evaluated = losses(ModelReader(base, load_encoder(folder), config, "cpu", go_on), ROWS)
    after = gradients(base, family, "nf4")
    assert after[0] == before[0]
    assert before[1].keys() == after[1].keys()
    assert len(after[1]) == 2 * 2 * len(TARGETS[family])
    assert all(torch.equal(before[1][name], after[1][name]) for name in before[1])

    plain = load_base(folder, trial().train, "cpu")
    for name, layer in plain.model.named_modules():
        if name in quantized:
            source = base.model.get_submodule(name).weight
            weight = dequantize_4bit(source.data, source.quant_state).to(torch.float32)
            layer.weight.data = weight.T.contiguous() if isinstance(layer, Conv1D) else weight
    expected = gradients(plain, family, "none")
    assert after[0] == pytest.approx(expected[0], rel=1e-4)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(after[1][name], gradient, rtol=1e-2, atol=1e-3 * gradient.abs().max().item())
    assert evaluated == losses(ModelReader(base, load_encoder(folder), config, "cpu", go_on), ROWS)


@pytest.mark.parametrize("optimizer", ["paged_adamw_8bit", pytest.param("paged_adamw_32bit", marks=pytest.mark.slow)])
def test_a_quantized_trial_trains_evaluates_and_its_optimizer_is_continued_exactly(
    tmp_path: Path, optimizer: str
) -> None:
    from trainables.jobs import Interrupted

    folder = write_model(tmp_path / "m", width=64)
    # Rank 32 makes tensors of over 4,096 elements, the least that the 8-bit optimizer keeps in 8 bits.
    one = trial(quantization="nf4", optimizer=optimizer, lora_rank=32, max_steps=6)
    whole = write_sweep(tmp_path / "whole")
    record, job = record_of(whole, one)
    result = engine_of(whole, folder).run(job, no_report, go_on)
    assert result.state == "done", result.cause
    assert result.trainable_parameters == 2 * 32 * (64 + 192)
    assert result.total_parameters > result.trainable_parameters

    parted = write_sweep(tmp_path / "parted")
    record2, job2 = record_of(parted, one)
    orders = iter(["go"] * 3 + ["interrupt"])
    with pytest.raises(Interrupted):
        engine_of(parted, folder).run(job2, no_report, lambda: next(orders, "interrupt"))
    assert 0 < len(train_losses(record2)) < 6
    assert engine_of(parted, folder).run(job2, no_report, go_on).adapter_sha256 == result.adapter_sha256
    assert train_losses(record2) == train_losses(record)


def test_a_base_without_a_layer_to_quantize_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "none")
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=0, n_head=2, n_positions=64, vocab_size=300)).save_pretrained(folder)
    with pytest.raises(UserError, match="cannot be quantized to NF4: it has no linear layer; take quantization=none"):
        load_base(folder, trial(quantization="nf4").train, "cpu")
