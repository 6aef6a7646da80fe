"""Sweeps that are struck go on as if nothing had happened: the kinds that need a disk, a limit, or another text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import fault_kinds as kinds
from benchmarks.fault_sweep import BUNDLED, SMALL, Sweep
from benchmarks.hostile import PIECES, write_hostile

TRAINING = ("learning_rate=5e-3,2e-3", "max_steps=24")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(tmp_path_factory.mktemp("whole") / "run", [*SMALL, *BUNDLED, *TRAINING]).run()


@pytest.mark.skipif(not kinds.can_mount(), reason="mounting a disk is not allowed here")
def test_a_disk_that_fills_pauses_a_sweep_that_then_goes_on(whole: Sweep, tmp_path: Path) -> None:
    said = kinds.a_full_disk(tmp_path / "struck", random.Random("disk"), whole)
    assert said.startswith("paused, losses within ")


@pytest.mark.skipif(kinds.memory_groups() is None, reason="control groups cannot be made here")
def test_an_engine_that_is_killed_for_its_memory_is_replaced(whole: Sweep, tmp_path: Path) -> None:
    said = kinds.little_memory(tmp_path / "struck", random.Random("memory"), whole)
    assert said.startswith("killed for its memory, losses within ")
    assert Sweep(tmp_path / "struck" / "run", whole.arguments).results().keys() == whole.results().keys()


def test_a_hostile_corpus_survives_a_second_driver_a_kill_and_a_move(tmp_path: Path) -> None:
    data = write_hostile(tmp_path / "hostile", seed=1)
    arguments = [*SMALL, "--model", "pocket-gpt2", "--data", str(data), *TRAINING]
    undisturbed = Sweep(tmp_path / "undisturbed" / "run", arguments).run()
    kinds.taken_elsewhere(tmp_path / "struck", random.Random("move"), undisturbed, clock_back=False)
    assert any("\x1b" in piece for piece in PIECES)
    assert "\x1b" not in undisturbed.output
