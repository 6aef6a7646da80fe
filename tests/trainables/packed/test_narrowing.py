"""Memory that runs out: the pack narrows, and every result is that of a pack with memory to spare.

Failures are torch's own error, raised by a hook in the real model above a number of rows, adapters or updates; one of
them has the system refuse memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import trial, write_model, write_sweep
from packs import Ran, assert_same, packed_engine, run_packed
from torch import Tensor

from trainables.config import TrialConfig
from trainables.modeling import attention
from trainables.modeling.multi_lora import PackedBase
from trainables.packed import training as packed_training
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder

SLOW_S = 0.02
TRIALS: dict[str, TrialConfig] = {
    "A": trial(max_steps=4, lora_dropout=0.1),
    "B": trial(max_steps=4, lora_rank=8, learning_rate=1e-3, generate_every_steps=2, generate_examples=3),
    "C": trial(max_steps=3, batch_size=1, seed=3),
    "D": trial(max_steps=4, learning_rate=2e-3, seed=5),
    "zero-shot": trial(max_steps=0),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def spared(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Ran]:
    """The trials in a pack with memory to spare."""
    sweep = write_sweep(tmp_path_factory.mktemp("spared") / "sweep")
    return run_packed(packed_engine(sweep, model, together=4), sweep, TRIALS)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("out of memory, says a hook")


def no_kernel() -> None:
    raise RuntimeError("could not create a primitive")


def ask_the_system() -> Tensor:
    """Ask for more than there is; what torch raises then is its own."""
    return torch.empty(2**60, dtype=torch.uint8)


def short_engine(
    sweep: SweepFolder,
    model: Path,
    fits: Callable[[PackedEngine, int, bool], bool],
    together: int = 4,
    refuse: Callable[[], Any] = out_of_memory,
) -> PackedEngine:
    """Return an engine whose base has no memory for a forward pass that does not fit (engine, rows, training)."""
    engine = packed_engine(sweep, model, together=together)
    base = engine.base(TRIALS["A"].train).model

    def check(module: Any, arguments: Any, named: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            time.sleep(SLOW_S)  # meanwhile the other trials ask, and then share the next batch
        if not fits(engine, named["input_ids"].shape[0], torch.is_grad_enabled()):
            refuse()

    base.register_forward_pre_hook(check, with_kwargs=True)
    return engine


def same(spared: dict[str, Ran], found: dict[str, Ran]) -> None:
    for name, one in found.items():
        restarts = one.result.pop("restarts")
        assert_same(Ran(one.trial, spared[name].record, {**spared[name].result}), Ran(one.trial, one.record, {
            **one.result, "restarts": spared[name].result["restarts"]}))  # fmt: skip
        one.result["restarts"] = restarts


@pytest.mark.parametrize("refuse", [ask_the_system, pytest.param(no_kernel, marks=pytest.mark.slow)])
def test_training_batches_are_halved(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path, refuse: Callable[[], Any]
) -> None:
    engine = short_engine(sweep, model, lambda _, rows, training: not training or rows <= 2, refuse=refuse)
    found = run_packed(engine, sweep, TRIALS)
    same(spared, found)
    assert engine.pack.limits.narrowed_to == {"together": 1}
    assert {one.result["restarts"] for one in found.values()} == {0}
    last = max(found.values(), key=lambda one: one.result["ended_at"])
    assert last.result["narrowed_to"] == {"together": 1}
    assert last.result["pack_width"]["together"] == 4


@pytest.mark.slow
def test_a_micro_batch_too_large_for_one_trial_goes_row_by_row(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_training, "PACKED_ON", ())  # as on a GPU
    taken: set[int] = set()

    def fits(_: PackedEngine, rows: int, training: bool) -> bool:
        taken.update([rows] * training)
        return not training or rows <= 1

    engine = short_engine(sweep, model, fits)
    found = run_packed(engine, sweep, TRIALS)
    same(spared, found)
    assert {1, 2} <= taken
    assert engine.pack.limits.narrowed_to == {"together": 1}
    assert {one.result["restarts"] for one in found.values()} == {0}


@pytest.mark.slow
def test_a_string_too_large_for_one_trial_goes_row_by_row(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path
) -> None:
    taken: set[int] = set()

    def fits(_: PackedEngine, rows: int, training: bool) -> bool:
        in_string = len(attention._lengths.get()) if training else 0
        taken.update([in_string] * training)
        return in_string == 0

    found = run_packed(short_engine(sweep, model, fits), sweep, TRIALS)
    same(spared, found)
    assert 0 in taken
    assert max(taken) > 1
    assert {one.result["restarts"] for one in found.values()} == {0}


@pytest.mark.slow
def test_rows_that_are_read_and_written_together_are_halved(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path
) -> None:
    engine = short_engine(sweep, model, lambda _, rows, training: training or rows <= 3)
    found = run_packed(engine, sweep, TRIALS)
    same(spared, found)
    narrowed = engine.pack.limits.narrowed_to or {}
    assert narrowed.keys() == {"rows", "loss_tokens"}
    assert narrowed["rows"] <= 3


@pytest.mark.parametrize("while_training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_youngest_trials_leave_a_pack_that_is_too_large_and_come_back(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path, while_training: bool
) -> None:
    """What each adapter holds is too much for four: as if the memory of two were there."""

    def fits(engine: PackedEngine, rows: int, training: bool) -> bool:
        base = engine.pack.base
        assert base is not None
        begun = all(group.adapter is None or group.adapter.clock.step > 0 for group in base.route.groups)
        adapters = sum(member.is_adapted for member in engine.pack._members)
        return training != while_training or not begun or adapters <= 2

    engine = short_engine(sweep, model, fits)
    found = run_packed(engine, sweep, TRIALS)
    same(spared, found)
    assert (engine.pack.limits.narrowed_to or {})["slots"] == 2
    assert sum(one.result["restarts"] for one in found.values()) >= 1
    steps = [row["step"] for row in found["A"].record.metrics() if row["kind"] == "train"]
    assert steps == [1, 2, 3, 4]


@pytest.mark.parametrize("holds_graphs", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_update_that_fails_halfway_is_taken_again_from_the_checkpoint(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch, holds_graphs: bool
) -> None:
    from trainables.packed.adapter_optimizer import AdapterOptimizer

    original, failed = AdapterOptimizer.step, []

    def step(self: AdapterOptimizer, norm: float) -> float:
        if self.done == 2 and not failed:
            failed.append(self)
            with torch.no_grad():
                self.adapter.flat.add_(1.0)
            raise torch.OutOfMemoryError("out of memory, says a test in the middle of an update")
        return original(self, norm)

    graphs = [1] * holds_graphs
    monkeypatch.setattr(PackedBase, "drop_graphs", lambda base: bool(graphs and graphs.pop()))
    monkeypatch.setattr(AdapterOptimizer, "step", step)
    found = run_packed(packed_engine(sweep, model, together=4), sweep, TRIALS)
    assert failed
    same(spared, found)
    assert max(one.result["restarts"] for one in found.values()) == 1


def test_a_trial_that_fails_alone_is_oom_and_the_others_go_on(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path
) -> None:
    def fits(engine: PackedEngine, rows: int, training: bool) -> bool:
        base = engine.pack.base
        assert base is not None
        return not any(group.adapter is not None and group.adapter.train.seed == 5 for group in base.route.groups)

    found = run_packed(short_engine(sweep, model, fits), sweep, TRIALS)
    assert found["D"].result["state"] == "oom"
    assert "out of memory" in found["D"].result["cause"]
    same(spared, {name: one for name, one in found.items() if name != "D"})


@pytest.mark.slow
def test_an_adapter_that_finds_no_memory_waits_for_a_place(
    spared: dict[str, Ran], sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = packed_engine(sweep, model, together=4)
    original = PackedBase.adapter

    def adapter(self: PackedBase, *arguments: Any) -> Any:
        if sum(member.is_adapted for member in engine.pack._members) > 3:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return original(self, *arguments)

    monkeypatch.setattr(PackedBase, "adapter", adapter)
    found = run_packed(engine, sweep, TRIALS)
    same(spared, found)
    assert engine.pack.limits.now.slots == 3
