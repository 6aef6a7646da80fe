"""Bases of an engine: each loaded once while they take little of the memory, twice at most where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from engine_inputs import trial, write_model

from trainables.bases.loaded_bases import BaseCache, nbytes_of, usable_bytes
from trainables.config import TrainConfig
from trainables.hardware import machine
from trainables.jobs import EngineSetup

MODELS = ("one", "two", "three")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {name: write_model(tmp_path / name) for name in MODELS}


def bases(folders: dict[str, Path], memory_bytes: int | None = None) -> BaseCache:
    places = {name: str(folder) for name, folder in folders.items()}
    return BaseCache(replace(EngineSetup("nowhere", places), memory_bytes=memory_bytes))


def config(model: str) -> TrainConfig:
    return trial().train.model_copy(update={"model": model})


def test_a_base_that_is_there_is_not_loaded_again(folders: dict[str, Path]) -> None:
    held = bases(folders)
    first = [held.get(config(name), folders[name]) for name in MODELS]
    again = [held.get(config(name), folders[name]) for name in MODELS]
    assert held.loads == 3
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert held.idle_bytes == nbytes_of(first[0]) + nbytes_of(first[1])


def test_bases_that_take_more_than_a_quarter_of_the_memory_leave_the_oldest_first(folders: dict[str, Path]) -> None:
    size = nbytes_of(bases(folders).get(config("one"), folders["one"]))
    room_for_two = bases(folders, memory_bytes=int(4 * 2.5 * size))
    for name in (*MODELS, "two", "three"):
        room_for_two.get(config(name), folders[name])
    assert room_for_two.loads == 3
    room_for_two.get(config("one"), folders["one"])
    assert room_for_two.loads == 4
    assert room_for_two.idle_bytes == size


@pytest.mark.slow
def test_with_no_room_beside_it_a_base_is_alone(folders: dict[str, Path]) -> None:
    held = bases(folders, memory_bytes=1)
    for name in ("one", "two", "one"):
        held.get(config(name), folders[name])
        assert held.idle_bytes == 0
    assert held.loads == 3


def test_engines_that_share_a_device_share_its_memory_and_each_keeps_what_it_is_told() -> None:
    setup = EngineSetup("nowhere", {}, sharing=3)
    assert usable_bytes(setup) == machine.memory_bytes() // 3
    assert usable_bytes(replace(setup, memory_bytes=2**30)) == 2**30
