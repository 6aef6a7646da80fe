"""The loss scale of fp16, one per adapter: what it leaves out is its own adapter's step, and is counted.

fp16 is refused on a CPU, where it gains nothing; these tests lift that, so that the same code runs without a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import engine_of, trial, write_model, write_sweep
from packs import packed_engine, run_packed

from trainables.bases import load as loading
from trainables.bases.load import load_base
from trainables.config import TrialConfig
from trainables.jobs import Interrupted
from trainables.modeling.multi_lora import PackedBase
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep, StepResult
from trainables.packed.training import take_steps
from trainables.records.record import SweepFolder
from trainables.trial.training_loop import MicroBatches

STEPS = 4
TOO_LARGE = 2.0**60  # whatever the gradient


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


@pytest.fixture(autouse=True)
def fp16_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "check_device", lambda *_: None)


def half(**changes: Any) -> TrialConfig:
    return trial(precision="fp16", max_steps=STEPS, lora_dropout=0.1, **changes)


class Pair:
    """Adapters of some trials over one base, each with its learner, that take their steps in shared batches."""

    def __init__(
        self, sweep: SweepFolder, model: Path, trials: dict[str, TrialConfig], scales: dict[str, float]
    ) -> None:
        tokenized = engine_of(sweep, model).tokenized
        first = next(iter(trials.values())).train
        self.base = PackedBase(load_base(model, first, "cpu"), 0, 0)
        self.data, self.optimizers = {}, {}
        for name, one in trials.items():
            self.data[name] = MicroBatches(one.train, tokenized.train_rows(one.train), 0, 0)
            self.optimizers[name] = AdapterOptimizer(self.base.adapter(one.train, "cpu"), "cpu")
            self.set_scale(name, scales.get(name, 2.0**10))

    def set_scale(self, name: str, scale: float) -> None:
        optimizer = self.optimizers[name]
        optimizer.scaler = torch.amp.GradScaler("cpu", init_scale=scale)

    def step(self, number: int) -> dict[str, StepResult]:
        next_steps = [
            NextStep(optimizer, self.data[name].of_step(number)) for name, optimizer in self.optimizers.items()
        ]
        found = take_steps(self.base, next_steps, "cpu")
        assert all(isinstance(one, StepResult) for one in found), found
        return dict(zip(self.optimizers, found, strict=True))  # type: ignore[arg-type]

    def weights(self, name: str) -> torch.Tensor:
        return self.optimizers[name].adapter.flat.clone()


@pytest.mark.parametrize("optimizer", ["adamw_torch", "paged_adamw_32bit"])
def test_an_overflow_leaves_out_one_adapters_step_alone(sweep: SweepFolder, model: Path, optimizer: Any) -> None:
    trials = {"A": half(seed=1, optimizer=optimizer), "B": half(seed=2, lora_rank=8, optimizer=optimizer)}
    both = Pair(sweep, model, trials, {"B": TOO_LARGE})
    neither = Pair(sweep, model, trials, {})
    start = both.weights("B")
    for number in range(STEPS):
        if number == 2:
            both.set_scale("B", 2.0**10)
        found, wanted = both.step(number), neither.step(number)
        torch.testing.assert_close(both.weights("A"), neither.weights("A"), rtol=0, atol=1e-7)
        assert found["A"] == wanted["A"]
        overflows = number < 2
        assert torch.isfinite(torch.tensor(found["B"].grad_norm)) != overflows
        assert torch.equal(both.weights("B"), start) == overflows
    # What was left out has neither moved the schedule nor the moments.
    assert (both.optimizers["A"].done, both.optimizers["B"].done) == (STEPS, STEPS - 2)
    late = Pair(sweep, model, {"B": trials["B"]}, {})
    late.data["B"] = both.data["B"]
    for number in (2, 3):
        late.step(number)
    torch.testing.assert_close(both.weights("B"), late.weights("B"), rtol=0, atol=2e-4)  # of steps of 5e-3


def test_an_overflow_halves_the_scale_until_it_fits(sweep: SweepFolder, model: Path) -> None:
    pair = Pair(sweep, model, {"A": half()}, {"A": TOO_LARGE})
    scaler = pair.optimizers["A"].scaler
    assert scaler is not None
    pair.step(0)
    assert scaler.get_scale() == TOO_LARGE / 2


def test_the_scale_changes_no_step_that_is_taken(sweep: SweepFolder, model: Path) -> None:
    found = []
    for scale in (2.0**8, 2.0**12):
        pair = Pair(sweep, model, {"A": half()}, {"A": scale})
        norms = [pair.step(number)["A"].grad_norm for number in range(STEPS)]
        found.append((norms, pair.weights("A")))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-2)  # small gradients round otherwise
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=5e-3)


def test_steps_that_were_left_out_are_counted_also_after_an_interruption(
    tmp_path: Path, sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.amp.GradScaler.__init__
    monkeypatch.setattr(
        torch.amp.GradScaler,
        "__init__",
        lambda self, device="cuda", init_scale=TOO_LARGE, **others: original(self, device, init_scale, **others),
    )
    trials = {"A": half(seed=1), "B": half(seed=2)}
    found = run_packed(packed_engine(sweep, model), sweep, trials)
    assert {one.result["state"] for one in found.values()} == {"done"}
    assert {one.result["skipped_steps"] for one in found.values()} == {STEPS}
    again = write_sweep(tmp_path / "again")

    def leaves(record: Any) -> Any:
        return lambda: "interrupt" if len(record.metrics()) >= 2 else "go"

    with pytest.raises(Interrupted):
        run_packed(packed_engine(again, model), again, {"A": trials["A"]}, {"A": leaves})
    resumed = run_packed(packed_engine(again, model), again, {"A": trials["A"]})["A"]
    assert resumed.result["skipped_steps"] == STEPS
    assert resumed.column("train", "train_loss") == found["A"].column("train", "train_loss")
