"""The loss against full logits, whatever the batch, and Trainer's steps against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_inputs import engine_of, record_of, train_losses, trial, write_model, write_sweep
from torch.nn.functional import cross_entropy

from trainables.data.corpus import epoch_order
from trainables.jobs import go_on, no_report
from trainables.modeling.loss import bucket, collate, completion_loss
from trainables.modeling.optim import rate_factor
from trainables.modeling.peft_lora import Clock, adapter_parameters, attach, detach
from trainables.solo.engine import SoloEngine
from trainables.tokenization.token_rows import TokenRow
from trainables.trial import evaluate
from trainables.trial.evaluate import ModelReader, losses, mean_loss


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> SoloEngine:
    folder = tmp_path_factory.mktemp("loss")
    return engine_of(write_sweep(folder / "sweep"), write_model(folder / "model"))


def plain_loss(model: torch.nn.Module, rows: list[TokenRow]) -> float:
    """Mean over all completion tokens, from full logits of one unpadded row at a time."""
    total, tokens = 0.0, 0
    for row in rows:
        ids = torch.tensor([row.prompt_ids + row.target_ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0]
        start = len(row.prompt_ids)
        total += cross_entropy(logits[start - 1 : -1].double(), ids[0, start:], reduction="sum").item()
        tokens += len(row.target_ids)
    return total / tokens


@pytest.mark.parametrize("budget", [1, 64, 256, 4096])
def test_loss_is_the_token_mean_of_full_logits_whatever_the_batch_size(
    engine: SoloEngine, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    monkeypatch.setitem(evaluate.LOSS_TOKENS, "cpu", budget)
    one = trial().train
    rows = engine.tokenized.train_rows(one)
    base = engine.base(one)
    found = losses(ModelReader(base, engine.tokenized.encoder(one), one, "cpu", go_on), rows)
    assert mean_loss(found) == pytest.approx(plain_loss(base.model, rows), abs=1e-6)
    assert [result[1] for result in found if result] == [len(row.target_ids) for row in rows]


def test_the_trained_tokens_end_with_the_end_of_text_though_padding_has_the_same_id(engine: SoloEngine) -> None:
    one = trial().train
    encoder, rows = engine.tokenized.encoder(one), engine.tokenized.train_rows(one)[:3]
    assert encoder.pad_id == encoder.eos_id
    batch = collate(rows, encoder.pad_id)
    ends = [row.target_ids[-1] for row in rows]
    assert ends == [encoder.eos_id] * 3
    assert (batch.target_N == encoder.eos_id).sum() == 3
    assert batch.input_ids_BT.shape[1] == bucket(max(len(row.prompt_ids + row.target_ids) for row in rows))


def test_each_step_of_trainer_equals_a_plain_loop(tmp_path: Path, engine: SoloEngine) -> None:
    one = trial(max_steps=6, lora_dropout=0.1, weight_decay=0.1, warmup_steps=2, schedule="cosine", train_examples=10)
    record, job = record_of(engine.tokenized.sweep, one, "plain")
    engine.run(job, no_report, go_on)

    config, rows = one.train, engine.tokenized.train_rows(one.train)
    clock = Clock(config.seed)
    base = engine.base(config)
    model = attach(base.model, config, clock)
    model.train()
    parameters = list(adapter_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    order = [index for epoch in range(3) for index in epoch_order(len(rows), config.data_seed, epoch)]
    expected = []
    for step in range(config.max_steps):
        chosen = [rows[index] for index in order[4 * step : 4 * step + 4]]
        tokens = sum(len(row.target_ids) for row in chosen)
        loss = torch.zeros(())
        for micro in range(2):
            clock.step, clock.micro = step, micro
            batch = collate(chosen[2 * micro : 2 * micro + 2], 0)
            loss = loss + completion_loss(replace(base, model=model), batch, tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate_factor(config, step)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    detach(model)
    assert train_losses(record) == pytest.approx(expected, abs=1e-6)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [{}, {"warmup_steps": 3}, {"warmup_ratio": 0.25}])
def test_schedules_are_those_of_transformers(schedule: str, warmup: dict[str, float]) -> None:
    from transformers import get_scheduler

    config = trial(max_steps=10, schedule=schedule, **warmup).train
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    steps = 3 if warmup else 0
    oracle = get_scheduler(name, optimizer, num_warmup_steps=steps, num_training_steps=10)
    for step in range(10):
        assert rate_factor(config, step) == pytest.approx(oracle.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        oracle.step()
