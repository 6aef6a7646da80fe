"""Without a scheduler an engine runs its share of the plan by itself, and trials follow or replay it when they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import STEPS, Scripted, follow, jobs, let_go
from waiting import wait_until

from sweep.engine_actor.actor import furthest_step
from sweep.engine_actor.crash_log import CrashLog, after_death
from sweep.engine_actor.slots import Slots
from sweep.ray_driver.tune_run import in_turn
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult

Make = Callable[..., Slots]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def slots(*names: str, width: int = 2, share: str = "", baselines: Sequence[str] = (), **options: Any) -> Slots:
        engine = Scripted(slots=width)
        one = Slots(engine, jobs(tmp_path, *names, baselines=baselines), ahead=tuple(share) or names, **options)
        one.open()
        made.append(one)
        return one

    yield slots
    for one in made:
        one.interrupt()
        wait_until(lambda one=one: not one.active())


def begun(slots: Slots) -> list[str]:
    return slots.engine.order  # type: ignore[attr-defined,no-any-return]


def test_trials_begin_in_the_order_of_the_plan_though_nobody_asks(make: Make) -> None:
    slots = make("a", "b", "c", "d")
    wait_until(lambda: sorted(begun(slots)) == ["a", "b"])
    let_go(slots, 4 * STEPS)
    wait_until(lambda: not slots.active())
    assert sorted(begun(slots)[2:]) == ["c", "d"]
    assert all(TrialRecord(Path(job.folder)).result() is not None for job in slots.jobs.values())


def test_nothing_begins_before_the_engine_is_open(tmp_path: Path) -> None:
    slots = Slots(Scripted(slots=2), jobs(tmp_path, "a"), ahead=("a",))
    assert slots.take("a") == "wait"
    assert begun(slots) == []


def test_a_late_trial_replays_the_reports_of_a_run_that_is_over(make: Make) -> None:
    slots = make("a")
    let_go(slots)
    wait_until(lambda: not slots.active())
    assert slots.take("a") == "taken"
    assert follow(slots, "a")[0] == [1, 2, 3]
    assert begun(slots) == ["a"]


def test_a_trial_follows_a_run_that_is_going_on(make: Make) -> None:
    slots = make("a", "b", "c")
    wait_until(lambda: len(begun(slots)) == 2)
    assert slots.take("a") == "taken"
    assert slots.take("c") == "wait"
    let_go(slots, 3 * STEPS)
    assert follow(slots, "a")[1] == "done"


def test_a_run_that_nobody_follows_or_whose_trial_has_left_goes_on(make: Make) -> None:
    slots = make("a", "b", silent_s=0.0, dead_s=0.0)
    wait_until(lambda: len(begun(slots)) == 2)
    assert slots.take("a") == "taken"
    assert slots.expire() == []
    let_go(slots, 2 * STEPS)
    assert follow(slots, "a")[1] == "done"


def test_another_engines_trials_are_left_to_it(make: Make) -> None:
    slots = make("a", "b", share="b")
    wait_until(lambda: begun(slots) == ["b"])
    assert slots.take("a") == "wait"


def test_finished_trials_are_replayed_from_their_records(make: Make, tmp_path: Path) -> None:
    record = TrialRecord(tmp_path / "a")
    record.folder.mkdir()
    record.append_metrics({"kind": "eval", "step": 2, "eval_loss": 0.5})
    record.write_result(TrialResult(state="failed"))
    slots = make("a", "b")
    assert slots.take("a") == "taken"
    assert follow(slots, "a")[0] == [2]
    wait_until(lambda: begun(slots) == ["b"])


def test_no_more_trials_run_than_were_asked_for(make: Make) -> None:
    slots = make("a", "b", "c", width=3, at_most=2)
    wait_until(lambda: len(begun(slots)) == 2)
    assert len(slots.active()) == 2


def test_baselines_take_no_place_from_trials_that_share_a_base(make: Make) -> None:
    slots = make("a", "b", "c", "d", "z", width=2, baselines=("a", "z"))
    wait_until(lambda: sorted(begun(slots)) == ["a", "b", "c", "z"])
    let_go(slots, 5 * STEPS)
    wait_until(lambda: not slots.active())
    assert slots.width.occupancy().chosen == 2
    one_by_one = make("f", "g", baselines=("f",), at_most=1)
    wait_until(lambda: begun(one_by_one) == ["f"])
    assert len(one_by_one.active()) == 1


def test_an_interrupt_ends_what_runs_and_begins_nothing_more(make: Make) -> None:
    slots = make("a", "b", "c")
    wait_until(lambda: len(begun(slots)) == 2)
    slots.interrupt()
    wait_until(lambda: not slots.active())
    assert len(begun(slots)) == 2
    assert slots.take("c") == "closed"


def test_a_failed_run_makes_room_for_the_next(make: Make) -> None:
    slots = make("broken", "b", width=1)
    let_go(slots, 1 + STEPS)
    wait_until(lambda: not slots.active())
    assert begun(slots) == ["broken", "b"]
    assert follow(slots, "broken")[1] == "failed"


def test_the_mean_width_is_that_of_the_time_in_which_enough_trials_are_left(make: Make) -> None:
    slots = make("a", "b", "c", "d")
    time.sleep(0.2)
    let_go(slots, 2 * STEPS)
    time.sleep(0.2)
    let_go(slots, 2 * STEPS)
    wait_until(lambda: not slots.active())
    width = slots.width.occupancy()
    assert width.chosen == 2
    assert width.mean == pytest.approx(2, abs=0.1)


def test_trials_of_a_lost_engine_are_run_here_and_judged_ones_still_come_by_themselves(make: Make) -> None:
    slots = make("a", "b", "c", share="a")
    for _ in range(2):
        slots.inherit(("a", "b"))
    wait_until(lambda: sorted(begun(slots)) == ["a", "b"])
    judged = Slots(Scripted(), slots.jobs, lockstep=True, mine=("a",))
    judged.open()
    judged.inherit(("a", "b"))
    assert (judged.ahead, judged.mine, judged.active()) == ((), ("a", "b"), [])


def test_trials_of_several_engines_are_followed_in_turn() -> None:
    assert in_turn("abcdef", [("a", "b", "c"), ("d", "f")]) == ["a", "d", "b", "f", "c", "e"]
    assert in_turn("cab", []) == ["c", "a", "b"]


# --- the process of an engine dies ---------------------------------------------------------------------------------


def die(path: Path, running: str, steps: dict[str, int]) -> tuple[CrashLog, list[str]]:
    """Begin runs in the process after the last one, which dies too; return what the next one finds."""
    deaths, _ = after_death(path, steps.__getitem__)
    for key in running:
        deaths.began(key)
    return after_death(path, steps.__getitem__)


def test_a_death_counts_for_all_that_ran_and_a_second_one_makes_them_suspects(tmp_path: Path) -> None:
    path, steps = tmp_path / "deaths.json", dict.fromkeys("abc", 0)
    deaths, given_up = die(path, "ab", steps)
    assert (deaths.counts, given_up) == ({"a": 1, "b": 1}, [])
    deaths, given_up = die(path, "ab", steps)
    assert given_up == []
    assert [deaths.is_suspect(key) for key in "abc"] == [True, True, False]


def test_a_trial_is_given_up_that_was_alone_and_did_not_come_further(tmp_path: Path) -> None:
    path, steps = tmp_path / "deaths.json", dict.fromkeys("ab", 0)
    given_up = [die(path, running, steps)[1] for running in ("ab", "ab", "ab")]
    assert given_up == [[], [], []]
    steps["b"] = 4
    deaths, _ = after_death(path, steps.__getitem__)
    assert [deaths.is_suspect(key) for key in "ab"] == [True, False]
    assert die(path, "a", steps)[1] == ["a"]


def test_suspects_run_alone_until_they_have_come_further(make: Make) -> None:
    slots = make("a", "b", "c", "d", deaths=CrashLog(None, {"b": 2, "c": 2}, {"b": 1, "c": 3}))
    wait_until(lambda: begun(slots) == ["b"])
    let_go(slots, 1)
    wait_until(lambda: len(slots.runs["b"].reports) == 1)
    assert begun(slots) == ["b"]  # it has been there before
    let_go(slots, 1)
    wait_until(lambda: begun(slots) == ["b", "a"])
    let_go(slots, 1 + 2 * STEPS)
    wait_until(lambda: begun(slots) == ["b", "a", "d", "c"])


def test_how_far_a_trial_has_come_is_read_from_its_curves(tmp_path: Path) -> None:
    job = jobs(tmp_path, "a")["a"]
    assert furthest_step(job) == 0
    TrialRecord(tmp_path / "a").folder.mkdir()
    for step in (1, 2):
        TrialRecord(tmp_path / "a").append_metrics({"kind": "train", "step": step, "train_loss": 1.0})
    assert furthest_step(job) == 2
