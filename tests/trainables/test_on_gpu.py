"""Both engines on a GPU: a real one by `make test-gpu`, and in every other run one that is pretended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, evaluation_of, record_of, trial, write_model, write_sweep
from packs import Ran, close, run_packed
from pretend_device import pretend_gpu

from trainables.bases import probes
from trainables.config import TrialConfig
from trainables.jobs import EngineSetup, Interrupted, go_on, no_report
from trainables.packed import train_graph
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord
from trainables.solo.engine import SoloEngine

FEW: dict[str, Any] = {"tokens": 8, "validation": 4, "test": 4}
SAMPLED = evaluation_of(**FEW, strategy="sample", temperature=0.9, top_k=50, repetition_penalty=1.2)
SHAPES: list[dict[str, Any]] = [
    {"lora_rank": 4, "lora_dropout": 0.1},
    {"lora_rank": 8, "batch_size": 3, "gradient_accumulation_steps": 1, "seed": 7},
    {"lora_rank": 2, "schedule": "cosine", "target_modules": ("c_attn", "c_fc"), "lora_dropout": 0.05},
]
CLOSE = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 1e-2}


@pytest.fixture(params=[pytest.param("pretended", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the device, of which the pretended one is a CPU's in its numbers."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no NVIDIA GPU")
        yield "cuda:0"
    else:
        with pretend_gpu():
            yield "cuda:0"


@pytest.fixture
def on_real_gpu() -> str:
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    return "cuda:0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m", width=64)


def trials(**more: Any) -> dict[str, TrialConfig]:
    found = {
        str(number): trial(evaluation_of(**FEW), **{"max_steps": 6, **shape, **more})
        for number, shape in enumerate(SHAPES)
    }
    return found | {"zero-shot": trial(evaluation_of(**FEW), **{**more, "max_steps": 0})}


def packed_on(device: str, sweep: SweepFolder, model: Path, together: int, **more: Any) -> PackedEngine:
    setup = EngineSetup(str(sweep.folder), {"tiny": str(model)}, device, pack_width=8, **more)
    return PackedEngine(setup, together=together)


def alone_on(device: str, sweep: SweepFolder, model: Path, wanted: dict[str, TrialConfig]) -> dict[str, Ran]:
    engine = SoloEngine(EngineSetup(str(sweep.folder), {"tiny": str(model)}, device))
    jobs = {name: record_of(sweep, one, name) for name, one in wanted.items()}
    results = {name: engine.run(job, no_report, go_on) for name, (_, job) in jobs.items()}
    return {name: Ran(wanted[name], jobs[name][0], result.content()) for name, result in results.items()}


def assert_losses_agree(packed: dict[str, Ran], alone: dict[str, Ran], relative: float) -> None:
    for name, ran in packed.items():
        assert ran.result["state"] == "done", ran.result["cause"]
        for kind, column in (("train", "train_loss"), ("eval", "eval_loss")):
            close(ran.column(kind, column), alone[name].column(kind, column), relative)
        close([row["nll"] for row in ran.predictions()], [row["nll"] for row in alone[name].predictions()], relative)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_pack_has_the_losses_of_each_trial_alone(gpu: str, tmp_path: Path, model: Path, precision: str) -> None:
    wanted = trials(precision=precision)
    alone = alone_on(gpu, write_sweep(tmp_path / "alone"), model, wanted)
    for together in (1, 4):
        sweep = write_sweep(tmp_path / str(together))
        assert_losses_agree(run_packed(packed_on(gpu, sweep, model, together), sweep, wanted), alone, CLOSE[precision])


@pytest.mark.parametrize("optimizer", ["paged_adamw_8bit", "paged_adamw_32bit"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.gpu
def test_paged_optimizers_and_4_bit_bases(
    on_real_gpu: str, tmp_path: Path, model: Path, optimizer: str, quantization: str
) -> None:
    wanted = trials(optimizer=optimizer, quantization=quantization)
    alone = alone_on(on_real_gpu, write_sweep(tmp_path / "alone"), model, wanted)
    sweep = write_sweep(tmp_path / "packed")
    tolerance = 1e-2 if optimizer == "paged_adamw_8bit" else 1e-5
    assert_losses_agree(run_packed(packed_on(on_real_gpu, sweep, model, 4), sweep, wanted), alone, tolerance)


def test_replayed_training_steps_are_those_of_each_trial_alone(
    gpu: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PACKSWEEP_CACHE", raising=False)
    monkeypatch.setattr(probes, "GAIN", float("inf"))
    replayed: list[int] = []
    replay_one = train_graph.StepGraph.replay

    def counted(graph: train_graph.StepGraph, *batch: Any) -> torch.Tensor:
        replayed.append(1)
        return replay_one(graph, *batch)

    monkeypatch.setattr(train_graph.StepGraph, "replay", counted)
    wanted = trials(max_steps=16, eval_every_steps=8)
    alone = alone_on(gpu, write_sweep(tmp_path / "alone"), model, wanted)
    sweep = write_sweep(tmp_path / "packed")
    engine = packed_on(gpu, sweep, model, 4, trials=tuple(wanted.values()))
    engine.warm(wanted["0"])
    assert [one["replays"] for one in engine.widths] == [True]
    replayed.clear()  # those of the measurement
    packed = run_packed(engine, sweep, wanted)
    assert len(replayed) > 3
    assert_losses_agree(packed, alone, CLOSE["fp32"])


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi"])
def test_replayed_tokens_are_the_plain_ones(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    base = write_model(tmp_path / "model", family, width=64)
    wanted = {
        name: trial(one, max_steps=2, target_modules=TARGETS[family])
        for name, one in (("greedy", evaluation_of(**FEW)), ("sampled", SAMPLED))
    }
    found = {}
    for gain in (0.0, float("inf")):
        monkeypatch.setattr(probes, "GAIN", gain)
        sweep = write_sweep(tmp_path / f"at {gain}")
        found[gain] = [one.texts() for one in run_packed(packed_on(gpu, sweep, base, 4), sweep, wanted).values()]
    assert found[0.0] == found[float("inf")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_texts_do_not_depend_on_the_width(gpu: str, tmp_path: Path, model: Path, precision: str) -> None:
    wanted = trials(precision=precision)
    texts = {}
    for width in (1, 2, 4):
        sweep = write_sweep(tmp_path / str(width))
        engine, names = packed_on(gpu, sweep, model, 1), list(wanted)
        found: dict[str, Ran] = {}
        for start in range(0, len(names), width):
            found |= run_packed(engine, sweep, {name: wanted[name] for name in names[start : start + width]})
        texts[width] = [one.texts() for one in found.values()]
    assert texts[1] == texts[2] == texts[4]


def test_interrupted_trials_go_on_to_the_same_losses(gpu: str, tmp_path: Path, model: Path) -> None:
    wanted = trials(precision="bf16")
    whole, parted = write_sweep(tmp_path / "whole"), write_sweep(tmp_path / "parted")
    expected = run_packed(packed_on(gpu, whole, model, 1), whole, wanted)

    def leaves(record: TrialRecord) -> Any:
        return lambda: "interrupt" if len(record.metrics()) >= 3 else "go"

    with pytest.raises(Interrupted):
        run_packed(packed_on(gpu, parted, model, 1), parted, wanted, dict.fromkeys(wanted, leaves))
    for name, one in run_packed(packed_on(gpu, parted, model, 1), parted, wanted).items():
        assert one.column("train", "train_loss") == expected[name].column("train", "train_loss")
        assert one.texts() == expected[name].texts()


@pytest.mark.gpu
def test_widths_are_measured_within_a_limit_of_memory(
    on_real_gpu: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKSWEEP_CACHE", str(tmp_path / "cache"))
    wanted, sweep, most = trials(), write_sweep(tmp_path / "sweep"), 2**30
    engine = packed_on(on_real_gpu, sweep, model, 0, memory_bytes=most, trials=tuple(wanted.values()))
    torch.cuda.reset_peak_memory_stats()
    run_packed(engine, sweep, wanted)
    (chosen,) = engine.widths
    assert chosen["measured"]
    assert torch.cuda.max_memory_allocated() <= most
