"""Losses of several adapters read in shared batches: nothing of one reaches another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import engine_of, trial, write_model, write_sweep

from trainables.bases.load import load_base
from trainables.jobs import go_on
from trainables.modeling.multi_lora import PackedBase
from trainables.packed.evaluation import ReadContext, ReadRequest, read_losses


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m")


def test_weights_that_are_not_finite_stay_out_of_the_rows_of_others_in_one_batch(model: Path) -> None:
    config = trial().train
    tokenized = engine_of(write_sweep(model.parent / "sweep"), model).tokenized
    base = PackedBase(load_base(model, config, "cpu"), 0, 0)
    rows = tokenized.train_rows(config)[:6]
    adapters = [base.adapter(trial(seed=seed).train, "cpu") for seed in range(3)]
    for adapter in adapters:
        adapter.flat.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    context = ReadContext(base, "fp32", "cpu", go_on)

    def found(*chosen: Any) -> list[Any]:
        requests = [ReadRequest(one, rows) for one in chosen]
        read_losses(context, requests)
        return [request.found for request in requests]

    alone = [found(one)[0] for one in (adapters[0], None, adapters[2])]
    adapters[1].flat.fill_(float("nan"))
    first, poisoned, none, last = found(adapters[0], adapters[1], None, adapters[2])
    assert all(loss != loss for loss, _ in poisoned)
    for ours, theirs in zip((first, none, last), alone, strict=True):
        assert [loss for loss, _ in ours] == pytest.approx([loss for loss, _ in theirs], rel=1e-6)


def test_a_fault_in_a_shared_batch_is_its_owners_alone(model: Path) -> None:
    config = trial().train
    tokenized = engine_of(write_sweep(model.parent / "sweep"), model).tokenized
    base = PackedBase(load_base(model, config, "cpu"), 0, 0)
    whole, broken = base.adapter(config, "cpu"), base.adapter(config, "cpu")
    for part in broken.parts.values():
        part.b_Or.data = torch.zeros(7, 4)  # of no layer's shape
    requests = [ReadRequest(one, tokenized.train_rows(config)) for one in (whole, broken, None)]
    read_losses(ReadContext(base, "fp32", "cpu", go_on), requests)
    assert [request.error is None for request in requests] == [True, False, True]
    assert all(loss is not None for request in (requests[0], requests[2]) for loss in request.found)
