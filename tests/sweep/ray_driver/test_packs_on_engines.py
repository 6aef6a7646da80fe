"""Plans of several packs on real engines: each base is loaded once, and what shares a pack changes no result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_sweep import result_of, write_sweep
from tiny_inputs import write_model
from waiting import wait_until

from sweep.engine_actor.slots import Slots
from sweep.ray_driver.pack_order import by_pack
from trainables.jobs import TrialJob
from trainables.packed.engine import PackedEngine
from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder
from trainables.solo.engine import SoloEngine

NF4 = {"quantization": "nf4"}
OTHER = {"model": "other"}


def run_all(out: Path, trials: list[dict[str, Any]], kind: Any = PackedEngine, **changes: Any) -> Any:
    """Run trials as an engine of a launch does, preflight included; returns the engine."""
    _, jobs, setup = write_sweep(out, trials)
    other = out.parent / "other-model"
    if not other.exists():
        write_model(other)
    folders = {**setup.model_folders, "other": str(other)}
    engine = kind(replace(setup, model_folders=folders, **changes))
    ordered = {Path(job.folder).name: job for job in by_pack(jobs)}
    planned: list[TrialJob] = list(ordered.values())
    engine.warm(planned[0].trial)
    engine.preflight([job.trial for job in planned])
    slots = Slots(engine, ordered, ahead=tuple(ordered))
    slots.open()
    wait_until(lambda: len(slots.runs) == len(ordered) and not slots.active(), 120)
    return engine


def results(out: Path) -> dict[str, Any]:
    found = {}
    for record in SweepFolder(out).records():
        result = result_of(record)
        texts = [read_lines(path) for path in sorted(record.folder.glob("evals/*/*.jsonl"))]
        found[record.config()["train_id"]] = (result.state, result.adapter_sha256, texts)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PackedEngine, SoloEngine])
def test_interleaved_bases_are_each_loaded_once(tmp_path: Path, kind: Any) -> None:
    steps = {"max_steps": 2, "eval_every_steps": 1}
    packs: list[dict[str, Any]] = [{}, NF4, OTHER, {**OTHER, **NF4}]
    trials = [{**pack, "max_steps": 0} for pack in packs] + [
        {**pack, **steps, "learning_rate": rate} for rate in (5e-3, 2e-3) for pack in packs
    ]
    engine = run_all(tmp_path / "run", trials, kind)
    assert engine.bases.loads == len(packs)
    assert {state for state, _, _ in results(tmp_path / "run").values()} == {"done"}


@pytest.mark.slow
def test_without_room_for_two_each_base_is_loaded_twice_at_most(tmp_path: Path) -> None:
    trials = [{**pack, "max_steps": 1, "learning_rate": rate} for rate in (5e-3, 2e-3) for pack in ({}, OTHER)]
    engine = run_all(tmp_path / "run", trials, memory_bytes=400_000)
    assert engine.bases.loads <= 4


@pytest.mark.slow
def test_a_pack_takes_trials_of_different_sequence_limits(tmp_path: Path) -> None:
    trials = [{"max_steps": 4, "max_length_tokens": limit, "prompt": "v1"} for limit in (512, 110, 102)]
    engine = run_all(tmp_path / "together", trials)
    assert engine.bases.loads == 1
    mates = [len(result_of(record).packmates) for record in SweepFolder(tmp_path / "together").records()]
    assert max(mates) == 2
    alone: dict[str, Any] = {}
    for number, fields in enumerate(trials):
        run_all(tmp_path / f"alone-{number}", [fields])
        alone |= results(tmp_path / f"alone-{number}")
    assert results(tmp_path / "together") == alone
    assert len({checksum for _, checksum, _ in alone.values()}) == len(trials), "the limits changed nothing"
