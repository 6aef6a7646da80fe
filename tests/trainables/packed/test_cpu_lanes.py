"""Lanes on a CPU: a trial whose steps and rows take one is the trial of a pack without lanes, to the bit."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import evaluation_of, trial, write_model, write_sweep
from packs import Ran, packed_engine, run_packed

from trainables.bases.load import load_base
from trainables.bases.probes import probe_lanes
from trainables.hardware import machine
from trainables.hardware.cpu_threads import compute_on
from trainables.modeling.multi_lora import AdapterRows, PackedBase
from trainables.packed import cpu_lanes, evaluation, scheduler
from trainables.packed.cpu_lanes import in_lanes, lanes_for
from trainables.records.record import SweepFolder

COUNT = 3
SAMPLE = evaluation_of(10, validation=6, test=6, strategy="sample", temperature=0.9, top_k=30, repetition_penalty=1.2)
MIXED = {
    "A": trial(max_steps=5, lora_dropout=0.1, generate_every_steps=2, generate_examples=4),
    "B": trial(SAMPLE, max_steps=6, lora_rank=8, batch_size=3, lora_dropout=0.2, seed=7),
    "C": trial(max_steps=4, batch_size=1, gradient_accumulation_steps=4, target_modules=("c_attn", "c_proj")),
    "D": trial(max_steps=5, learning_rate=1e-3, schedule="cosine", gradient_checkpointing=True, lora_dropout=0.1),
    "E": trial(max_steps=3, optimizer="paged_adamw_8bit", train_examples=9),
    "zero-shot": trial(max_steps=0),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Ran]:
    """The mixed trials in a pack that has no lanes."""
    sweep = write_sweep(tmp_path_factory.mktemp("turn") / "sweep")
    return run_packed(packed_engine(sweep, model), sweep, MIXED)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Which threads took steps, and which read rows; each on one core, so that nothing but the lanes differs."""
    monkeypatch.setattr(scheduler, "compute_on", lambda threads: compute_on(1))
    monkeypatch.setattr(cpu_lanes, "compute_on", lambda threads: compute_on(1))
    found: dict[str, set[str]] = {"steps": set(), "rows": set()}

    def watched(kind: str, plain: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            found[kind].add(threading.current_thread().name)
            return plain(*args, **more)

        return call

    monkeypatch.setattr(scheduler, "take_steps", watched("steps", scheduler.take_steps))
    monkeypatch.setattr(evaluation, "_attempt", watched("rows", evaluation._attempt))
    monkeypatch.setattr(evaluation, "LANE_ROWS", 2)
    return found


def assert_equal(found: Ran, wanted: Ran) -> None:
    for kind, column in (("train", "train_loss"), ("train", "grad_norm"), ("eval", "eval_loss")):
        assert found.column(kind, column) == wanted.column(kind, column)
    assert found.texts() == wanted.texts()
    if not wanted.trial.train.is_baseline:
        assert all(torch.equal(value, wanted.weights()[name]) for name, value in found.weights().items())


def test_trials_in_lanes_are_those_of_a_pack_without_to_the_bit(
    in_turn: dict[str, Ran], sweep: SweepFolder, model: Path, seen: dict[str, set[str]]
) -> None:
    found = run_packed(packed_engine(sweep, model, COUNT, lanes=True), sweep, MIXED)
    for name in MIXED:
        assert_equal(found[name], in_turn[name])
    for kind in ("steps", "rows"):
        assert len([name for name in seen[kind] if name.startswith("lane")]) == COUNT, seen


def test_a_trial_that_explodes_in_a_lane_changes_nothing_of_the_others(
    in_turn: dict[str, Ran], sweep: SweepFolder, model: Path, seen: dict[str, set[str]]
) -> None:
    wild = trial(max_steps=6, learning_rate=1e6, max_grad_norm=1e9, seed=11)
    trials = {"wild": wild, **{name: MIXED[name] for name in ("A", "B", "C")}}
    found = run_packed(packed_engine(sweep, model, COUNT, lanes=True), sweep, trials)
    assert found["wild"].result["state"] == "diverged"
    for name in ("A", "B", "C"):
        assert_equal(found[name], in_turn[name])


def test_layers_that_are_packed_later_are_packed_in_all_lanes(
    in_turn: dict[str, Ran], sweep: SweepFolder, model: Path, seen: dict[str, set[str]]
) -> None:
    engine = packed_engine(sweep, model, 2, lanes=True)
    run_packed(engine, sweep, {f"first {seed}": trial(max_steps=2, seed=seed) for seed in (1, 2)})
    found = run_packed(engine, sweep, {"C": MIXED["C"], "other": trial(max_steps=5, target_modules=("c_fc",))})
    assert_equal(found["C"], in_turn["C"])
    assert len([name for name in seen["steps"] if name.startswith("lane")]) == 2


def test_under_a_limit_of_memory_no_thread_is_started_for_a_lane(
    sweep: SweepFolder, model: Path, seen: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_limit_bytes", lambda: 2**40)
    run_packed(packed_engine(sweep, model, 2, lanes=True), sweep, {name: MIXED[name] for name in ("A", "E")})
    assert (seen["steps"], seen["rows"]) == ({"pack"}, {"pack"})


def test_one_trial_alone_computes_on_all_cores(sweep: SweepFolder, model: Path, seen: dict[str, set[str]]) -> None:
    run_packed(packed_engine(sweep, model, 2, lanes=True), sweep, {"A": trial(max_steps=2)})
    assert seen["steps"] == {"pack"}


@pytest.mark.parametrize(("error", "copies"), [(TypeError("cannot pickle 'a lock' object"), 0), (MemoryError(), 1)])
def test_a_model_that_cannot_be_copied_trains_in_turn(
    in_turn: dict[str, Ran],
    sweep: SweepFolder,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    seen: dict[str, set[str]],
    error: Exception,
    copies: int,
) -> None:
    """A copy is made when the base is loaded, and those to work with when they are needed."""
    plain, made = PackedBase.copy_modules, []

    def copy_modules(base: PackedBase) -> PackedBase:
        if len(made) == copies:
            raise error
        made.append(base)
        return plain(base)

    monkeypatch.setattr(PackedBase, "copy_modules", copy_modules)
    engine = packed_engine(sweep, model, 2, lanes=True)
    found = run_packed(engine, sweep, {name: MIXED[name] for name in ("A", "E")})
    for name, ran in found.items():
        assert_equal(ran, in_turn[name])
    assert seen["steps"] == {"pack"}
    assert engine.pack.limits.narrowed_to == {"together": 1}


def test_a_copy_has_the_same_weights_and_a_route_of_its_own(model: Path) -> None:
    config = trial().train
    base = PackedBase(load_base(model, config, "cpu"), 0, 0)
    adapter = base.adapter(config, "cpu")
    adapter.flat.normal_(generator=torch.Generator().manual_seed(1))
    probe_lanes(base)
    assert lanes_for(base, 2) == 2
    copied = base.copies[0]
    pairs = zip(base.model.parameters(), copied.model.parameters(), strict=True)
    assert all(ours is theirs for ours, theirs in pairs)
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        plain = base.model(input_ids=ids).logits
        copied.route.send([AdapterRows(adapter, 0, 1)])
        assert torch.equal(base.model(input_ids=ids).logits, plain)
        assert not torch.equal(copied.model(input_ids=ids).logits, plain)


def test_lanes_share_the_cores_and_raise_what_one_raises(model: Path) -> None:
    base = PackedBase(load_base(model, trial().train, "cpu"), 0, 0)
    probe_lanes(base)
    assert lanes_for(base, 2) == 2
    cores: list[int] = []
    in_lanes(base, 2, 5, lambda one: cores.append(torch.get_num_threads()))
    assert cores == [2, 2]

    def fails(one: PackedBase) -> None:
        if one is not base:
            raise ValueError("in a lane")

    with pytest.raises(ValueError, match="in a lane"):
        in_lanes(base, 2, 2, fails)
