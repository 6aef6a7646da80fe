"""Steps of packed adapters: the gradients and updates that plain tensors would have had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from engine_inputs import engine_of, trial, write_model, write_sweep

from trainables.bases.load import load_base
from trainables.modeling.loss import completion_loss
from trainables.modeling.multi_lora import PackedBase
from trainables.modeling.optim import build_optimizer, rate_factor
from trainables.modeling.peft_lora import Clock, adapter_parameters, attach, detach
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep, StepResult
from trainables.packed.training import take_steps
from trainables.trial.training_loop import MicroBatches


def test_gradients_in_a_shared_batch_are_those_of_autograd_alone_under_the_same_masks(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m")
    configurations = [
        trial(lora_dropout=0.3, seed=seed, lora_rank=3 + seed, batch_size=1 + seed).train for seed in (0, 1)
    ]
    tokenized = engine_of(write_sweep(tmp_path / "sweep"), model).tokenized
    plain = load_base(model, configurations[0], "cpu")
    packed = PackedBase(load_base(model, configurations[0], "cpu"), 0, 0)
    next_steps, expected = [], []
    for config in configurations:
        data = MicroBatches(config, tokenized.train_rows(config), 0, 0)
        clock = Clock(config.seed)
        peft = attach(plain.model, config, clock)
        adapter = packed.adapter(config, "cpu")
        generator = torch.Generator().manual_seed(config.seed)
        for name, parameter in adapter_parameters(peft).items():
            if "lora_B" in name:  # B begins at zero, and with it the gradient of A
                parameter.data.normal_(std=0.1, generator=generator)
                adapter.parameters[name].data.copy_(parameter.data)
        peft.train()
        for one in data.of_step(0):
            clock.step, clock.micro = one.step, one.micro
            completion_loss(replace(plain, model=peft), one.batch, one.step_tokens).backward()
        expected.append({name: parameter.grad for name, parameter in adapter_parameters(peft).items()})
        detach(peft)
        optimizer = AdapterOptimizer(adapter, "cpu")
        optimizer.step = lambda norm: 0.0  # type: ignore[method-assign]  # leaves the gradients to be seen
        next_steps.append(NextStep(optimizer, data.of_step(0)))
    take_steps(packed, next_steps, "cpu")
    for next_step, gradients in zip(next_steps, expected, strict=True):
        for name, gradient in gradients.items():
            assert gradient is not None
            assert gradient.abs().max() > 0
            found = next_step.optimizer.adapter.parameters[name].grad
            torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max()))


def test_losses_and_norms_of_several_adapters_are_waited_for_at_once(tmp_path: Path) -> None:
    configurations = [trial(seed=seed, lora_dropout=0.1, batch_size=2).train for seed in range(3)]
    model = write_model(tmp_path / "m")
    tokenized = engine_of(write_sweep(tmp_path / "sweep"), model).tokenized
    base = PackedBase(load_base(model, configurations[0], "cpu"), 0, 0)
    next_steps = [
        NextStep(
            AdapterOptimizer(base.adapter(one, "cpu"), "cuda"),
            MicroBatches(one, tokenized.train_rows(one), 0, 0).of_step(0),
        )
        for one in configurations
    ]
    with waits_counted() as waits:
        outcomes = take_steps(base, next_steps, "cpu")
    assert all(isinstance(one, StepResult) for one in outcomes)
    assert waits == ["tolist"]


@contextmanager
def waits_counted() -> Iterator[list[str]]:
    """Note what brings a tensor's numbers to Python: on a GPU each waits until all before it is computed."""
    found: list[str] = []

    def noting(name: str) -> Any:
        plain = getattr(torch.Tensor, name)

        def call(self: torch.Tensor, *args: Any) -> Any:
            found.append(name)
            return plain(self, *args)

        return call

    with ExitStack() as stack:
        for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
            stack.enter_context(mock.patch.object(torch.Tensor, name, noting(name)))
        yield found


def test_8_bit_updates_are_those_of_the_adapters_own_tensors(tmp_path: Path) -> None:
    """For the same gradients bitsandbytes' optimizer moves a packed adapter as it moves plain tensors, to the bit."""
    config = trial(optimizer="paged_adamw_8bit", lora_rank=40, learning_rate=1e-2, max_grad_norm=1e9).train
    base = PackedBase(load_base(write_model(tmp_path / "wide", width=128), config, "cpu"), 0, 0)
    adapter = base.adapter(config, "cpu")
    ours = AdapterOptimizer(adapter, "cpu")
    plain = {name: torch.nn.Parameter(value.detach().clone()) for name, value in adapter.parameters.items()}
    assert any(value.numel() > 4096 for value in plain.values())  # the least that is kept in 8 bits
    optimizer = build_optimizer(config, plain)
    generator = torch.Generator().manual_seed(3)
    for step in range(3):
        for name, value in plain.items():
            gradient = torch.randn(value.shape, generator=generator)
            value.grad = gradient.clone()
            grad = adapter.parameters[name].grad
            assert grad is not None
            grad.copy_(gradient)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate_factor(config, step)
        optimizer.step()
        ours.step(float(ours.norm()))
        assert all(torch.equal(adapter.parameters[name], value) for name, value in plain.items())


def test_the_padding_between_weights_stays_zero(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", width=36)
    config = trial(lora_rank=3, weight_decay=0.1, learning_rate=1e-2).train
    tokenized = engine_of(write_sweep(tmp_path / "sweep"), model).tokenized
    base = PackedBase(load_base(model, config, "cpu"), 0, 0)
    adapter = base.adapter(config, "cpu")
    optimizer, data = AdapterOptimizer(adapter, "cpu"), MicroBatches(config, tokenized.train_rows(config), 0, 0)
    for step in range(3):
        take_steps(base, [NextStep(optimizer, data.of_step(step))], "cpu")
    weight = torch.zeros_like(adapter.flat)
    for view in adapter.views(weight).values():
        view.fill_(1)
    assert (weight == 0).any()
    assert (adapter.flat[weight == 0] == 0).all()
    assert (adapter.flat[weight == 1] != 0).float().mean() > 0.95
