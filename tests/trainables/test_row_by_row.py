"""Micro-batches taken row by row: the losses, weights and masks of the whole micro-batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import trial, write_model
from packs import assert_same, packed_engine, run_packed, run_solo, write_sweep

from trainables import packed_train
from trainables.lora import Clock, Part, SeededDropout
from trainables.loss import collate, completion_nll, row_of
from trainables.model import load_base
from trainables.tokens import Row

ROWS = [Row(str(number), tuple(range(3, 20 + 9 * number)), (5, 6, 7 + number), 0, True) for number in range(3)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_dropout": 0.1},
        {"batch_size": 3, "gradient_accumulation_steps": 1, "lora_dropout": 0.05, "gradient_checkpointing": True},
        {"quantization": "nf4", "lora_dropout": 0.1},
    ],
    ids=["dropout", "checkpointing", "4 bits"],
)
def test_a_trial_taken_row_by_row_is_the_trial_alone(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    trials = {"A": trial(max_steps=6, **settings)}
    alone = run_solo(write_sweep(tmp_path / "alone"), model, trials)
    taken = []
    monkeypatch.setattr(packed_train, "row_of", lambda batch, row: taken.append(row) or row_of(batch, row))
    sweep = write_sweep(tmp_path / "rows")
    by_rows = run_packed(packed_engine(sweep, model), sweep, trials)
    assert max(taken) == trials["A"].train.batch_size - 1
    assert_same(alone["A"], by_rows["A"])


def test_a_row_alone_has_the_losses_that_it_has_in_its_batch(model: Path) -> None:
    base, batch = load_base(model, trial().train, "cpu"), collate(ROWS, 0)
    with torch.no_grad():
        whole = completion_nll(base, batch)
        each = [completion_nll(base, row_of(batch, row)) for row in range(len(ROWS))]
    torch.testing.assert_close(torch.cat(each), whole, rtol=1e-6, atol=1e-6)
    assert [row_of(batch, row).input_ids_BT.shape[1] for row in range(3)] == [len(row.prompt_ids) + 2 for row in ROWS]


def test_a_row_has_its_part_of_the_mask_of_the_whole_micro_batch() -> None:
    clock = Clock(seed=3)
    dropout, x_BTD = SeededDropout(0.4, clock, "layer"), torch.ones(3, 8, 16)
    for step in (0, 1):
        clock.step, clock.part = step, None
        whole = dropout(x_BTD)
        for row, tokens in ((0, 8), (2, 5), (1, 3)):
            clock.part = Part(row, 3, 8)
            assert torch.equal(dropout(x_BTD[row : row + 1, :tokens]), whole[row : row + 1, :tokens])
