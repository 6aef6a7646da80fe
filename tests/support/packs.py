"""Trials through both engines, for the tests of the packed one: a pack is as many threads as there are jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_inputs import engine_of, record_of, write_sweep
from safetensors.torch import load_file
from torch import Tensor

from trainables.config import TrialConfig
from trainables.jobs import Control, EngineSetup, go_on, no_report
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord

OF_THE_ENGINE = ("engine", "train_s", "evaluate_s", "wall_s", "seconds_per_step", "peak_memory_bytes", "started_at")
OF_THE_ENGINE += ("ended_at", "device_share", "packmates", "adapter_sha256", "train_loss", "schema")
OF_THE_ENGINE += ("pack_width", "narrowed_to", "journals", "adapter_files")


@dataclass(frozen=True)
class Ran:
    """A trial that was run."""

    trial: TrialConfig
    record: TrialRecord
    result: dict[str, Any]

    def column(self, kind: str, name: str) -> list[float]:
        return [row[name] for row in self.record.metrics() if row["kind"] == kind]

    def predictions(self) -> list[dict[str, Any]]:
        splits = self.trial.evaluation.examples
        return [row for split in splits for row in self.record.predictions(self.trial.eval_id, split)]

    def texts(self) -> list[str]:
        return [row["text"] for row in self.predictions()]

    def weights(self) -> dict[str, Tensor]:
        return load_file(self.record.adapter_folder / "adapter_model.safetensors")


def packed_engine(
    sweep: SweepFolder, model: Path, together: int = 1, width: int = 8, lanes: bool = False
) -> PackedEngine:
    """Return an engine that trains so many adapters at a time: in one batch as on a GPU, or in lanes."""
    setup = EngineSetup(str(sweep.folder), {"tiny": str(model)}, "cpu", pack_width=width)
    engine = PackedEngine(setup, together=together)
    engine.pack.uses_lanes = lanes
    if lanes:
        engine.pack.threads = together
    return engine


def run_packed(
    engine: PackedEngine,
    sweep: SweepFolder,
    trials: Mapping[str, TrialConfig],
    controls: Mapping[str, Callable[[TrialRecord], Control]] | None = None,
) -> dict[str, Ran]:
    """Run trials at once, each in a thread as a slot would."""
    jobs = {name: record_of(sweep, one, name) for name, one in trials.items()}
    chosen = controls or {}
    with ThreadPoolExecutor(len(jobs)) as threads:
        futures = {
            name: threads.submit(engine.run, job, no_report, chosen[name](record) if name in chosen else go_on)
            for name, (record, job) in jobs.items()
        }
        return {name: Ran(trials[name], jobs[name][0], future.result().content()) for name, future in futures.items()}


def run_solo(sweep: SweepFolder, model: Path, trials: Mapping[str, TrialConfig]) -> dict[str, Ran]:
    engine = engine_of(sweep, model)
    found = {}
    for name, one in trials.items():
        record, job = record_of(sweep, one, name)
        found[name] = Ran(one, record, engine.run(job, no_report, go_on).content())
    return found


def both(folder: Path, model: Path, trials: Mapping[str, TrialConfig]) -> Any:
    """Return (alone, packed) of the trials, each by name."""
    solo, packed = write_sweep(folder / "solo"), write_sweep(folder / "packed-1")
    return run_solo(solo, model, trials), run_packed(packed_engine(packed, model), packed, trials)


def assert_same(alone: Ran, packed: Ran, loss: float = 1e-5, weights: float = 2e-5) -> None:
    """Losses at every step, final weights, texts and the content of the record must agree.

    Weights with gradients near Adam's epsilon may be further apart by chance (see test_weights_apart): none here is.
    """
    assert packed.result["state"] == "done", packed.result["cause"]
    for kind, name in (("train", "train_loss"), ("eval", "eval_loss"), ("train", "grad_norm")):
        close(packed.column(kind, name), alone.column(kind, name), loss)
    assert packed.column("train", "learning_rate") == alone.column("train", "learning_rate")
    left, right = packed.record.metrics(), alone.record.metrics()
    assert [(row["kind"], row["step"], sorted(row)) for row in left] == [
        (row["kind"], row["step"], sorted(row)) for row in right
    ]
    assert packed.texts() == alone.texts()
    for ours, theirs in zip(packed.predictions(), alone.predictions(), strict=True):
        close([ours["nll"]], [theirs["nll"]], loss)
        assert {**ours, "nll": 0} == {**theirs, "nll": 0}
    assert packed.result.keys() == alone.result.keys()
    for key in alone.result.keys() - set(OF_THE_ENGINE):
        assert packed.result[key] == alone.result[key], key
    close([packed.result["train_loss"]], [alone.result["train_loss"]], loss)
    if alone.trial.train.is_baseline:
        return
    ours, theirs = packed.weights(), alone.weights()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (ours[name] - value).abs().max() <= weights, name


def close(ours: list[float], theirs: list[float], relative: float) -> None:
    assert len(ours) == len(theirs)
    for left, right in zip(ours, theirs, strict=True):
        assert abs(left - right) <= relative * abs(right), (ours, theirs)
