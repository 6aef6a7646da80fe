"""Widths measured on a real base: nothing that a trial sees is touched, and the memory that may be used is kept to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import trial, write_model, write_sweep
from packs import assert_same, packed_engine, run_packed

from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.hardware.device_memory import is_out_of_memory
from trainables.kv_cache.ragged import Prefill, RaggedFiller
from trainables.packed import autotune, choose_size, pack_size
from trainables.packed.engine import PackedEngine
from trainables.packed.pack_size import PackSize, Workload, need_bytes
from trainables.packed.workload import adapter_bytes, task_of
from trainables.records.record import SweepFolder

TRIALS: dict[str, TrialConfig] = {
    "A": trial(max_steps=2, lora_dropout=0.1),
    "B": trial(max_steps=2, lora_rank=32, generate_every_steps=1, generate_examples=3),
    "zero-shot": trial(max_steps=0),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    monkeypatch.delenv("PACKSWEEP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_sweep(tmp_path / "sweep")


def measuring(sweep: SweepFolder, model: Path, memory_bytes: int | None = None) -> PackedEngine:
    """Return an engine that knows its trials, and so measures for them."""
    setup = packed_engine(sweep, model).setup
    return PackedEngine(replace(setup, trials=tuple(TRIALS.values()), memory_bytes=memory_bytes, threads=1))


@pytest.mark.slow
def test_results_after_a_measurement_are_those_without_one(tmp_path: Path, sweep: SweepFolder, model: Path) -> None:
    plain = run_packed(packed_engine(sweep, model), sweep, TRIALS)
    engine, state = measuring(write_sweep(tmp_path / "measured"), model), torch.get_rng_state()
    engine.warm(TRIALS["zero-shot"])
    assert torch.equal(torch.get_rng_state(), state)
    assert [one["source"] for one in engine.widths] == ["measured now"]
    found = run_packed(engine, SweepFolder(tmp_path / "measured"), TRIALS)
    for name, one in found.items():
        assert_same(plain[name], one)
    chosen = found["A"].result["pack_width"]
    assert chosen == {key: engine.widths[0][key] for key in ("slots", "together", "rows", "measured")}
    assert found["A"].result["narrowed_to"] is None


def test_a_second_engine_finds_what_the_first_one_measured(
    sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measuring(sweep, model)
    first.warm(TRIALS["A"])
    monkeypatch.setattr(choose_size, "measure", lambda *_: pytest.fail("measured again"))
    second = measuring(sweep, model)
    second.warm(TRIALS["A"])
    assert second.widths == [{**first.widths[0], "source": "cache"}]
    (place, measured), *others = pack_size.read_all().values()
    assert not others
    assert (place.threads, place.precision, place.rows) == (1, "fp32", 4)
    assert measured.train[0].width == 1
    assert measured.train[0].seconds > 0
    assert [point.width for point in measured.decode][:2] == [16, 32]


def test_decoding_is_measured_over_the_states_that_texts_are_written_over(
    sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    class Counting(RaggedFiller):
        def add(self, prefill: Prefill) -> None:
            rows.append(len(prefill.rows))
            super().add(prefill)

    monkeypatch.setattr(autotune, "filler_of", lambda model, lengths, room: Counting(room))
    engine = measuring(sweep, model)
    engine.warm(TRIALS["A"])
    assert engine.size_chooser.found is not None
    assert rows == [point.width for point in engine.size_chooser.found.decode]


@pytest.mark.parametrize("fits", [8, 1])
def test_decoding_narrower_than_the_least_usual_width_is_found_where_memory_asks_for_it(
    sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    plain = autotune._decode_run
    tried: list[int] = []

    def decode_run(bench: Any, rows: int) -> Any:
        tried.append(rows)
        if rows > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(bench, rows)

    monkeypatch.setattr(autotune, "_decode_run", decode_run)
    engine = measuring(sweep, model)
    engine.warm(TRIALS["A"])
    assert engine.widths[0]["rows"] <= fits
    assert len(tried) == len(set(tried))  # what is known not to fit is not tried again
    assert not pack_size.cache_path().exists()  # what memory cut short is measured anew


def test_a_base_that_cannot_decode_even_one_row_is_refused(
    sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode_run(bench: Any, rows: int) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(autotune, "_decode_run", decode_run)
    with pytest.raises(UserError, match="not even one micro-batch of one trial fits"):
        measuring(sweep, model).warm(TRIALS["A"])


def test_memory_that_idle_bases_hold_is_taken_once_from_what_a_base_needs(
    sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measuring(sweep, model)
    first.warm(TRIALS["A"])
    found = first.size_chooser.found
    assert found is not None
    pack_size.cache_path().unlink()
    gib = 1 << 30
    monkeypatch.setattr(choose_size, "measure", lambda *_: (replace(found, base_bytes=3 * gib), True))
    second = measuring(sweep, model)
    monkeypatch.setattr(second.size_chooser, "idle_bytes", lambda: gib)
    second.warm(TRIALS["A"])
    assert second.size_chooser.found is not None
    assert second.size_chooser.found.base_bytes == 2 * gib
    ((_, kept),) = pack_size.read_all().values()
    assert kept.base_bytes == 2 * gib


def test_an_engine_whose_trials_are_unknown_measures_nothing(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    engine.warm(TRIALS["A"])
    assert engine.widths == []
    assert not pack_size.cache_path().exists()


def test_a_pack_that_cannot_fit_even_one_trial_is_refused_and_a_trial_too_large_alone_is_oom(
    sweep: SweepFolder, model: Path
) -> None:
    first = measuring(sweep, model)
    first.warm(TRIALS["A"])
    found, task = first.size_chooser.found, task_of(first.tokenized, list(TRIALS.values()))
    assert found is not None
    assert task is not None

    def need(name: str) -> int:
        own = adapter_bytes(first.tokenized, TRIALS[name].train)
        return need_bytes(
            found, Workload(1, own, 1, task.load.scale, task.train_scale(TRIALS[name].train)), PackSize(1, 1, 1)
        )

    with pytest.raises(UserError, match=r"not even one trial fits: it needs about [\d.]+ [MG]iB .* may be used"):
        measuring(sweep, model, need("A") - 1).warm(TRIALS["A"])
    engine = measuring(sweep, model, (need("A") + need("B")) // 2)
    engine.warm(TRIALS["A"])
    assert engine.widths[0]["slots"] == 1
    ran = run_packed(engine, sweep, {name: TRIALS[name] for name in ("A", "B")})
    assert ran["A"].result["state"] == "done"
    assert ran["B"].result["state"] == "oom"
    assert "this trial alone needs about" in ran["B"].result["cause"]


def test_what_libraries_say_when_memory_runs_out_is_understood() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory of a kind"))
