"""Training batches replayed as graphs are the plain ones, and what cannot be captured is not."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, engine_of, trial, write_model, write_sweep
from pretend_device import PretendGraph, pretend_gpu

from trainables.bases import probes
from trainables.bases.load import load_base
from trainables.bases.probes import probe_step_graphs
from trainables.config import TrainConfig
from trainables.modeling.multi_lora import PackedBase
from trainables.packed import train_graph
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep, StepResult
from trainables.packed.multi_batch import step_of
from trainables.packed.train_graph import StepGraph, StepGraphs
from trainables.packed.training import rehearse_all, take_steps
from trainables.trial.training_loop import MicroBatches

MIXED: list[dict[str, Any]] = [
    {"lora_dropout": 0.1, "batch_size": 2, "gradient_accumulation_steps": 2},
    {"lora_rank": 8, "batch_size": 1, "gradient_accumulation_steps": 3, "seed": 7},
    {"lora_rank": 3, "batch_size": 3, "gradient_accumulation_steps": 1, "lora_dropout": 0.3, "schedule": "cosine"},
]


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretend_gpu():
        yield


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every replay; a pretended graph is not fast, and is taken nevertheless."""
    monkeypatch.setattr(probes, "GAIN", float("inf"))
    seen: list[int] = []
    replay = StepGraph.replay

    def counted(graph: StepGraph, *batch: Any) -> torch.Tensor:
        seen.append(1)
        return replay(graph, *batch)

    monkeypatch.setattr(StepGraph, "replay", counted)
    return seen


class Bench:
    """Some adapters over one base on the pretended GPU, and their steps."""

    def __init__(self, folder: Path, configs: list[TrainConfig], family: str = "gpt2", graphs: bool = False) -> None:
        model = write_model(folder / "m", family)
        self.tokenized = engine_of(write_sweep(folder / "sweep", train=24), model).tokenized
        self.base = PackedBase(load_base(model, configs[0], "cuda"), 0, 0)
        self.base.graphs = StepGraphs() if graphs else None
        self.optimizers: list[AdapterOptimizer] = []
        self.data: list[MicroBatches] = []
        for config in configs:
            self.join(config)

    def join(self, config: TrainConfig) -> None:
        self.optimizers.append(AdapterOptimizer(self.base.adapter(config, "cuda"), "cuda"))
        self.data.append(MicroBatches(config, self.tokenized.train_rows(config), 0, 0))

    def next_steps(self, step: int) -> list[NextStep]:
        return [NextStep(one, data.of_step(step)) for one, data in zip(self.optimizers, self.data, strict=True)]

    def steps(self, first: int, last: int) -> list[list[Any]]:
        return [take_steps(self.base, self.next_steps(step), "cuda") for step in range(first, last)]

    def replays_pay(self) -> bool:
        return probe_step_graphs(
            self.base, lambda: rehearse_all(self.base, self.next_steps(0), "cuda"), "cuda", StepGraphs
        )

    def weights(self) -> list[torch.Tensor]:
        return [one.adapter.flat.clone() for one in self.optimizers]


def configs(family: str = "gpt2", **more: Any) -> list[TrainConfig]:
    return [trial(max_steps=12, target_modules=TARGETS[family], **{**one, **more}).train for one in MIXED]


def assert_alike(left: list[list[Any]], right: list[list[Any]], relative: float = 1e-5) -> None:
    for ours, theirs in zip(left, right, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert isinstance(mine, StepResult), mine
            assert mine.loss == pytest.approx(other.loss, rel=relative)
            assert mine.grad_norm == pytest.approx(other.grad_norm, rel=10 * relative)


OTHERS = [pytest.param(family, marks=pytest.mark.slow) for family in ("llama", "phi", "mistral")]


@pytest.mark.parametrize("family", ["gpt2", *OTHERS])
def test_replayed_steps_are_the_plain_ones(gpu: None, tmp_path: Path, replays: list[int], family: str) -> None:
    plain = Bench(tmp_path / "plain", configs(family), family)
    graphed = Bench(tmp_path / "graphed", configs(family), family, graphs=True)
    assert_alike(graphed.steps(0, 12), plain.steps(0, 12))
    assert graphed.base.graphs is not None
    assert len(replays) >= 6
    for ours, theirs in zip(graphed.weights(), plain.weights(), strict=True):
        assert (ours - theirs).abs().max() <= 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_replayed_steps_in_half_precision_are_the_plain_ones(
    gpu: None, tmp_path: Path, replays: list[int], precision: str
) -> None:
    found = []
    for graphs in (False, True):
        bench = Bench(tmp_path / str(graphs), configs(precision=precision), graphs=graphs)
        found.append(bench.steps(0, 12))
    assert replays
    assert_alike(*found, relative=1e-2)


@pytest.mark.slow
def test_what_is_not_finite_in_one_adapter_stays_there_in_a_replay(
    gpu: None, tmp_path: Path, replays: list[int]
) -> None:
    spared = Bench(tmp_path / "spared", configs(), graphs=True)
    broken = Bench(tmp_path / "broken", configs(), graphs=True)
    spared.steps(0, 4)
    broken.steps(0, 4)
    broken.optimizers[1].adapter.flat.fill_(float("nan"))
    wanted, found = spared.steps(4, 12), broken.steps(4, 12)
    assert len(replays) >= 8
    for ours, theirs in zip(found, wanted, strict=True):
        assert [ours[0].loss, ours[2].loss] == [theirs[0].loss, theirs[2].loss]
        assert ours[1].loss != ours[1].loss


@pytest.mark.slow
def test_graphs_of_an_adapter_that_is_gone_are_let_go_and_a_new_one_in_its_slot_starts_clean(
    gpu: None, tmp_path: Path, replays: list[int]
) -> None:
    bench = Bench(tmp_path / "one", configs(), graphs=True)
    bench.steps(0, 6)
    assert replays
    graphs = bench.base.graphs
    del bench.optimizers[1], bench.data[1]
    gc.collect()
    bench.join(configs()[1])
    fresh = Bench(tmp_path / "two", [configs()[1]])
    late = [[one[2]] for one in bench.steps(0, 6)]
    assert_alike(late, fresh.steps(0, 6))
    for refs, _ in graphs._met.values():
        assert all(ref() is not None for ref in refs)


@pytest.mark.slow
def test_no_more_graphs_are_kept_than_those_used_last(
    gpu: None, tmp_path: Path, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_graph, "MOST", 1)
    bench = Bench(tmp_path, configs(), graphs=True)
    graphs = bench.base.graphs
    shapes: set[Any] = set()
    for step in range(12):
        bench.steps(step, step + 1)
        shapes |= set(graphs._met)
        assert sum(graph is not None for _, graph in graphs._met.values()) <= 1
    assert len(shapes) > 1
    assert graphs.holds_any


@pytest.mark.slow
def test_a_batch_that_cannot_be_captured_goes_the_plain_way_and_no_other_is_tried(
    gpu: None, tmp_path: Path, replays: list[int]
) -> None:
    plain = Bench(tmp_path / "plain", configs())
    bench = Bench(tmp_path / "graphed", configs(), graphs=True)

    def waits(module: Any, inputs: Any, output: Any) -> None:
        output[0].sum().item()

    bench.base.model.get_submodule("transformer.h.0").register_forward_hook(waits)
    assert_alike(bench.steps(0, 12), plain.steps(0, 12))
    assert bench.base.graphs is None
    assert not replays
    assert not bench.replays_pay()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["replay", "capture"])
def test_where_memory_runs_out_graphs_give_theirs_back_before_anything_narrows(
    gpu: None, tmp_path: Path, replays: list[int], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bench = Bench(tmp_path, configs(), graphs=True)
    bench.steps(0, 6)
    held: list[bool] = []
    method, kind = {"replay": ("replay", StepGraph), "capture": ("capture_begin", PretendGraph)}[moment]
    plain = getattr(kind, method)

    def runs_out(self: Any, *args: Any, **more: Any) -> Any:
        held.append(bench.base.graphs.holds_any)
        if len(held) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(self, *args, **more)

    monkeypatch.setattr(kind, method, runs_out)
    narrowed: list[int] = []
    if moment == "capture":
        bench.base.graphs.clear()
    for step in [0, 1, 2, 3, 4, 5] * 2:
        assert all(
            isinstance(one, StepResult)
            for one in take_steps(bench.base, bench.next_steps(step), "cuda", narrowed.append)
        )
    assert len(held) > 1
    assert held[0] == (moment == "replay")
    assert not narrowed
    assert bench.base.graphs is not None
    assert bench.base.graphs.holds_any


def computed_tensors() -> set[int]:
    """Return the tensors that are alive and came of others."""
    return {id(one) for one in gc.get_objects() if isinstance(one, torch.Tensor) and one.grad_fn is not None}


@pytest.mark.slow
def test_a_failed_batch_leaves_nothing_behind_that_a_capture_would_stumble_over(gpu: None, tmp_path: Path) -> None:
    """While a batch is alive its weights have nodes of autograd that belong to another stream than the capture's."""
    bench = Bench(tmp_path, configs())

    def fails(module: Any, inputs: Any, output: torch.Tensor) -> None:
        if len(output) > 4:  # of one adapter at most
            raise ValueError("no batch is to be shared")

    bench.base.model.get_submodule("transformer.h.1").register_forward_hook(fails)
    gc.disable()
    try:
        before = computed_tensors()
        outcomes = take_steps(bench.base, bench.next_steps(0), "cuda")
        left = computed_tensors()
    finally:
        gc.enable()
    assert all(isinstance(one, StepResult) for one in outcomes)
    assert left <= before


@pytest.mark.slow
@pytest.mark.parametrize("gain", [float("inf"), 0.0])
def test_it_is_measured_whether_replays_pay(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    monkeypatch.setattr(probes, "GAIN", gain)
    bench = Bench(tmp_path, configs())
    before = bench.weights()
    assert bench.replays_pay() == (gain > 0)
    assert bench.base.graphs is None
    assert all(map(torch.equal, bench.weights(), before))
    assert all(not one.adapter.flat_gradient.any() for one in bench.optimizers)


@pytest.mark.slow
def test_replays_with_other_gradients_are_left(
    gpu: None, tmp_path: Path, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PretendGraph, "replay", lambda graph: None)  # a graph that changes nothing
    bench = Bench(tmp_path, configs())
    assert not bench.replays_pay()


def test_shapes_are_few() -> None:
    assert sorted({step_of(count) for count in range(1, 1025)}) == [
        16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024,
    ]  # fmt: skip
    assert all(count <= step_of(count) < max(count + 16, 1.5 * count + 1) for count in range(1, 1025))
