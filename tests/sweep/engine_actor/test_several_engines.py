"""Several engines: each begins its own trials first, none begins what runs elsewhere, and one takes over another's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import STEPS, Scripted, begin, follow, jobs, let_go
from waiting import wait_until

from sweep.engine_actor.slots import Slots
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult


@pytest.fixture
def made() -> Iterator[list[Slots]]:
    all_made: list[Slots] = []
    yield all_made
    for one in all_made:
        one.interrupt()
        wait_until(lambda one=one: not one.active())


def slots_of(folder: Path, made: list[Slots], width: int = 2, **options: Any) -> Slots:
    one = Slots(Scripted(slots=width), jobs(folder, *"abcd"), **options)
    one.open()
    made.append(one)
    return one


def begun(slots: Slots) -> list[str]:
    return sorted(slots.engine.order)  # type: ignore[attr-defined]


def test_the_trials_of_another_engine_wait_until_all_own_ones_have_begun(tmp_path: Path, made: list[Slots]) -> None:
    slots = slots_of(tmp_path, made, width=3, mine=("a", "b"))
    assert slots.take("c") == "wait"
    begin(slots, "a")
    assert slots.take("c") == "wait"
    begin(slots, "b")
    assert slots.take("c") == "taken"


def test_an_own_trial_that_was_finished_before_keeps_nobody_waiting(tmp_path: Path, made: list[Slots]) -> None:
    TrialRecord(tmp_path / "a").write_result(TrialResult(state="done", steps=STEPS))
    slots = slots_of(tmp_path, made, mine=("a",))
    assert slots.take("c") == "taken"


def test_asked_where_a_trial_runs_an_engine_begins_nothing(tmp_path: Path, made: list[Slots]) -> None:
    slots = slots_of(tmp_path, made)
    assert slots.take("a", if_it_runs=True) == "wait"
    assert slots.active() == []
    begin(slots, "a")
    assert slots.take("a", if_it_runs=True) == "taken"


def test_what_another_engine_left_begins_when_there_is_room(tmp_path: Path, made: list[Slots]) -> None:
    slots = slots_of(tmp_path, made, ahead=("a", "b"))
    wait_until(lambda: begun(slots) == ["a", "b"])
    slots.inherit(("a", "b", "c", "d"))
    slots.inherit(("a", "b", "c", "d"))
    assert begun(slots) == ["a", "b"]
    assert slots.take("c") == "wait"
    let_go(slots, 4 * STEPS)
    wait_until(lambda: begun(slots) == ["a", "b", "c", "d"] and not slots.active())
    assert follow(slots, "c")[1] == "done"


def test_what_another_engine_had_finished_is_replayed(tmp_path: Path, made: list[Slots]) -> None:
    slots = slots_of(tmp_path, made, ahead=("a",))
    TrialRecord(tmp_path / "c").write_result(TrialResult(state="diverged", steps=STEPS))
    TrialRecord(tmp_path / "c").append_metrics({"step": 1, "kind": "eval", "eval_loss": 0.5})
    slots.inherit(("c",))
    assert slots.take("c") == "taken"
    assert follow(slots, "c") == ([1], "diverged")
    assert "c" not in begun(slots)
