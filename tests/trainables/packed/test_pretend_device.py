"""The packed engine on a GPU that is pretended: no tensor of one device meets one of the other, and numbers stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, evaluation_of, record_of, trial, write_model, write_sweep
from packs import Ran, assert_same, close, run_packed
from pretend_device import GPU, DevicesMixed, pretend_gpu

from trainables.bases import probes
from trainables.config import TrialConfig
from trainables.jobs import DeviceLost, EngineSetup, Interrupted, go_on, no_report
from trainables.packed import autotune, evaluation, multi_batch, training
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord
from trainables.solo.engine import SoloEngine

FEW: dict[str, Any] = {"tokens": 6, "validation": 3, "test": 2}
SHORT = evaluation_of(**FEW)
SAMPLED = evaluation_of(**FEW, strategy="sample", temperature=0.9, top_k=50, top_p=0.95, repetition_penalty=1.2)
BEAMS = evaluation_of(**FEW, strategy="beam", num_beams=3)
TWO: dict[str, TrialConfig] = {
    "A": trial(SHORT, lora_dropout=0.1),
    "B": trial(SHORT, lora_rank=8, lora_dropout=0.2, seed=7, keep_checkpoint="best", generate_every_steps=3),
}
MIXED = TWO | {
    "sampled": trial(SAMPLED, max_steps=2, gradient_checkpointing=True, lora_dropout=0.1),
    "beams": trial(BEAMS, max_steps=2),
    "zero-shot": trial(SHORT, max_steps=0),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, Ran]:
    sweep = write_sweep(tmp_path_factory.mktemp("cpu") / "sweep")
    return run_packed(engine_on("cpu", sweep, model), sweep, MIXED)


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretend_gpu():
        yield


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


def engine_on(device: str, sweep: SweepFolder, model: Path, **more: Any) -> PackedEngine:
    return PackedEngine(EngineSetup(str(sweep.folder), {"tiny": str(model)}, device, pack_width=8, **more), together=4)


def assert_same_but_for_the_device(on_cpu: Ran, on_gpu: Ran) -> None:
    on_gpu.result.update(device="cpu", restarts=on_cpu.result["restarts"])
    assert_same(on_cpu, on_gpu)


MIXING: dict[str, Callable[[], Any]] = {
    "elementwise": lambda: torch.ones(2, device="cuda") + torch.ones(2),
    "in place": lambda: torch.ones(2, device="cuda").add_(torch.ones(2)),
    "a view": lambda: torch.ones(2, 2).to("cuda")[0] * torch.ones(2, 2)[1],
    "product": lambda: torch.nn.Linear(2, 2).cuda()(torch.ones(1, 2)),
    "numbers in a stack": lambda: torch.stack([torch.ones(2, device="cuda").sum(), torch.tensor(1.0)]),
    "indices": lambda: torch.ones(2)[torch.zeros(1, dtype=torch.long, device="cuda")],
    "generator": lambda: torch.rand(2, generator=torch.Generator("cuda")),
    "generator in place": lambda: torch.empty(2, device="cuda").exponential_(generator=torch.Generator()),
    "numpy": lambda: torch.ones(2, device="cuda").numpy(),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_fails_on_a_gpu_fails_on_a_pretended_one(gpu: None, name: str) -> None:
    with pytest.raises((DevicesMixed, TypeError)):
        MIXING[name]()


def test_what_works_on_a_gpu_works_on_a_pretended_one(gpu: None) -> None:
    x = torch.ones(2, 3, device="cuda", requires_grad=True)
    (x * torch.tensor(2.0) + 1).sum().backward()
    assert x.grad is not None
    assert x.grad.device == GPU
    assert x.grad.cpu().tolist() == [[2.0] * 3] * 2
    assert x[torch.tensor([0])].device == GPU
    assert torch.zeros_like(x).device == x.to("cuda:0").device == GPU
    here = torch.zeros(2, 3)
    here.copy_(x.detach())
    assert here.device.type == "cpu"


@pytest.mark.parametrize(
    "gain", [pytest.param(0.0, marks=pytest.mark.slow), float("inf")], ids=["plain tokens", "replayed tokens"]
)
def test_a_pack_on_a_gpu_gives_what_it_gives_on_a_cpu(
    gpu: None, sweep: SweepFolder, model: Path, on_cpu: dict[str, Ran], monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    monkeypatch.setattr(probes, "GAIN", gain)
    found = run_packed(engine_on("cuda", sweep, model, memory_bytes=2**30), sweep, MIXED)
    assert {one.result["device"] for one in found.values()} == {"cuda"}
    for name, one in found.items():
        assert_same_but_for_the_device(on_cpu[name], one)


@pytest.mark.slow
def test_a_rotary_model_on_a_gpu_gives_what_it_gives_on_a_cpu(tmp_path: Path) -> None:
    llama = write_model(tmp_path / "llama", "llama")
    trials = {"A": trial(SHORT, max_steps=2, lora_dropout=0.1, target_modules=TARGETS["llama"])}
    here, there = write_sweep(tmp_path / "cpu"), write_sweep(tmp_path / "gpu")
    wanted = run_packed(engine_on("cpu", here, llama), here, trials)
    with pretend_gpu():
        found = run_packed(engine_on("cuda:0", there, llama), there, trials)
    assert_same_but_for_the_device(wanted["A"], found["A"])


@pytest.mark.slow
def test_an_interrupted_pack_goes_on_from_its_checkpoints_on_a_gpu(
    gpu: None, sweep: SweepFolder, model: Path, on_cpu: dict[str, Ran]
) -> None:
    def leaves(record: TrialRecord) -> Any:
        return lambda: "interrupt" if len(record.metrics()) >= 3 else "go"

    with pytest.raises(Interrupted):
        run_packed(engine_on("cuda", sweep, model), sweep, TWO, dict.fromkeys(TWO, leaves))
    for name, one in run_packed(engine_on("cuda", sweep, model), sweep, TWO).items():
        assert one.result["restarts"] == 1
        assert_same_but_for_the_device(on_cpu[name], one)


def test_widths_are_measured_and_stages_proved_on_a_gpu(
    gpu: None, sweep: SweepFolder, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(autotune.BUDGET_S, "cuda", 0.2)
    engine = engine_on("cuda", sweep, model, trials=tuple(TWO.values()))
    assert engine.preflight(list(TWO.values())).training
    (chosen,) = engine.widths
    assert chosen["source"] == "measured now"
    assert chosen["memory_bytes"] > 0
    assert engine.size_chooser.found is not None
    assert engine.size_chooser.found.decode


@pytest.mark.slow
def test_rows_that_memory_does_not_suffice_for_are_taken_one_by_one_on_a_gpu(
    gpu: None, sweep: SweepFolder, model: Path, on_cpu: dict[str, Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(training, "take", too_much)
    for name, one in run_packed(engine_on("cuda", sweep, model), sweep, TWO).items():
        assert_same_but_for_the_device(on_cpu[name], one)


@pytest.mark.parametrize(("module", "name"), [(multi_batch, "completion_nll"), (evaluation, "generate_batch")])
def test_a_lost_gpu_ends_the_run_and_not_the_trial(
    gpu: None, sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    def lost(*args: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    def breaks(*args: Any) -> None:
        monkeypatch.setattr(torch.cuda, "synchronize", lost)
        monkeypatch.setattr(torch.cuda, "empty_cache", lost)
        lost()

    monkeypatch.setattr(module, name, breaks)
    with pytest.raises(DeviceLost, match="device-side assert"):
        run_packed(engine_on("cuda", sweep, model), sweep, TWO)
    records = sweep.records()
    assert [record.result() for record in records] == [None, None]
    assert any("device-side assert" in record.error_path.read_text() for record in records)


def test_fp16_and_its_loss_scale_work_on_a_gpu(gpu: None, sweep: SweepFolder, model: Path) -> None:
    trials = {name: trial(SHORT, precision="fp16", max_steps=2, seed=seed) for seed, name in enumerate("AB")}
    found = run_packed(engine_on("cuda", sweep, model), sweep, trials)
    assert [one.result["cause"] for one in found.values()] == [None, None]


def test_the_solo_engine_on_a_gpu_gives_what_a_pack_gives_on_a_cpu(
    gpu: None, sweep: SweepFolder, model: Path, on_cpu: dict[str, Ran]
) -> None:
    engine = SoloEngine(EngineSetup(str(sweep.folder), {"tiny": str(model)}, "cuda"))
    record, job = record_of(sweep, TWO["A"])
    found = Ran(TWO["A"], record, engine.run(job, no_report, go_on).content())
    assert found.result["cause"] is None
    close(found.column("train", "train_loss"), on_cpu["A"].column("train", "train_loss"), 1e-5)
    assert found.texts() == on_cpu["A"].texts()
