"""Rows of a step packed one behind another: the losses, weights and masks of their whole micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine_inputs import trial, write_model
from packs import Ran, assert_same, packed_engine, run_packed, run_solo, write_sweep

from trainables.bases.load import load_base
from trainables.modeling.attention import packed_sequences
from trainables.modeling.base_model import arithmetic
from trainables.modeling.loss import collate, completion_nll, pack_rows, row_of
from trainables.modeling.peft_lora import Clock, RowSlice, SeededDropout
from trainables.packed import adapter_optimizer, training
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.training_loop import MicroBatch

ROWS = [TokenRow(str(number), tuple(range(3, 20 + 9 * number)), (5, 6, 7 + number), 0, True) for number in range(3)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(
    scope="module",
    params=[
        {"lora_dropout": 0.1},
        {"batch_size": 3, "gradient_accumulation_steps": 2, "lora_dropout": 0.05, "gradient_checkpointing": True},
        {"quantization": "nf4", "lora_dropout": 0.1},
    ],
    ids=["dropout", "checkpointing", "4 bits"],
)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Ran]:
    trials = {"A": trial(max_steps=6, **request.param)}
    return run_solo(write_sweep(tmp_path_factory.mktemp("alone") / "sweep"), model, trials)


@pytest.mark.parametrize("most_tokens", [0, 150, 1024], ids=["one row", "some rows", "the whole step"])
def test_a_trial_whose_rows_are_packed_is_the_trial_alone(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, alone: dict[str, Ran], most_tokens: int
) -> None:
    trials = {"A": alone["A"].trial}
    taken: list[int] = []
    monkeypatch.setattr(adapter_optimizer, "TOKENS_AT_ONCE", most_tokens)
    monkeypatch.setattr(training, "pack_rows", lambda rows: taken.append(len(rows)) or pack_rows(rows))
    sweep = write_sweep(tmp_path / "strings")
    found = run_packed(packed_engine(sweep, model), sweep, trials)
    per_step = trials["A"].train.batch_size * trials["A"].train.gradient_accumulation_steps
    assert sum(taken) == 6 * per_step
    assert max(taken) == {0: 1, 150: max(taken), 1024: per_step}[most_tokens]
    if most_tokens == 150:
        assert 1 < max(taken) < per_step
    assert_same(alone["A"], found["A"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_packed_rows_have_the_losses_that_they_have_alone(model: Path, precision: str) -> None:
    config = trial(precision=precision).train
    base, batch = load_base(model, config, "cpu"), collate(ROWS, 0)
    assert base.capabilities.sequence_packing
    each = [row_of(batch, row) for row in range(len(ROWS))]
    for parameter in base.model.parameters():
        parameter.requires_grad_()  # as in training, where attention goes another way
    with arithmetic(precision, "cpu"):
        alone = torch.cat([completion_nll(base, one) for one in each])
        with packed_sequences([one.input_ids_BT.shape[1] for one in each]):
            together = completion_nll(base, pack_rows(each))
    tolerance = 1e-6 if precision == "fp32" else 2e-2
    torch.testing.assert_close(together, alone, rtol=tolerance, atol=tolerance)


def test_a_base_with_a_window_takes_its_rows_one_by_one(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralConfig

    folder = write_model(tmp_path / "m", width=32)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, max_position_embeddings=256, sliding_window=16,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    found = load_base(folder, trial().train, "cpu").capabilities
    assert not found.sequence_packing
    assert found.refused["sequence_packing"] == "a layer attends to a window alone"


def test_packs_of_rows_hold_no_more_tokens_than_they_may_and_every_row_once() -> None:
    batch = collate(ROWS, 0)
    micro = [MicroBatch(batch, 0, number, 18) for number in range(2)]
    lengths = [row_of(batch, row).input_ids_BT.shape[1] for row in range(3)]
    for most in (0, sum(lengths), 2 * sum(lengths)):
        found = training._packed_rows(micro, most)
        assert [(part.micro, part.row) for one in found for part, _ in one] == [
            (m, r) for m in (0, 1) for r in range(3)
        ]
        assert all(len(one) == 1 or sum(part.length for part, _ in one) <= most for one in found)
    assert len(found) == 1


def test_a_row_alone_has_the_losses_that_it_has_in_its_batch(model: Path) -> None:
    base, batch = load_base(model, trial().train, "cpu"), collate(ROWS, 0)
    with torch.no_grad():
        whole = completion_nll(base, batch)
        each = [completion_nll(base, row_of(batch, row)) for row in range(len(ROWS))]
    torch.testing.assert_close(torch.cat(each), whole, rtol=1e-6, atol=1e-6)
    assert [row_of(batch, row).input_ids_BT.shape[1] for row in range(3)] == [len(row.prompt_ids) + 2 for row in ROWS]


def test_rows_have_their_parts_of_the_masks_of_their_whole_micro_batches() -> None:
    clock = Clock(seed=3)
    dropout, x_BTD = SeededDropout(0.4, clock, "layer"), torch.ones(3, 8, 16)
    for step in (0, 1):
        clock.step, whole = step, []
        for micro in (0, 1):
            clock.micro = micro
            whole.append(dropout(x_BTD))
        places = [(0, 0, 8), (0, 2, 5), (1, 1, 3)]
        clock.parts = tuple(RowSlice(micro, row, 3, 8, length) for micro, row, length in places)
        expected = torch.cat([whole[micro][row, :length] for micro, row, length in places])
        assert torch.equal(dropout(torch.ones(1, 16, 16)), expected[None])
        assert torch.equal(dropout(torch.ones(16, 16)), expected)  # some models hand over (tokens, inputs)
        clock.parts = ()
