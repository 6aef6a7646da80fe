"""Trials that a search adds while it runs: an engine reads them from their records, and runs some of them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import STEPS, Scripted, follow, jobs, let_go
from small_sweep import BASE, EVALUATION
from waiting import wait_until

from sweep.engine_actor.actor import EnginePlan, LeaseHolder
from sweep.engine_actor.slots import Slots
from sweep.environment.lease import this_process
from trainables.config import TrainConfig, TrialConfig
from trainables.jobs import EngineSetup, TrialJob
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

Make = Callable[..., Slots]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Slots] = []

    def slots(*names: str, **options: Any) -> Slots:
        added = lambda key: jobs(tmp_path, key)[key]  # noqa: E731
        one = Slots(Scripted(slots=2), jobs(tmp_path, *names), job_of=added, **options)
        one.open()
        made.append(one)
        return one

    yield slots
    for one in made:
        one.interrupt()
        wait_until(lambda one=one: not one.active())


def test_an_engine_reads_a_trial_that_it_does_not_know_from_its_record(tmp_path: Path) -> None:
    train = TrainConfig(**{**BASE, "learning_rate": 7e-4})
    record = TrialRecord(SweepFolder(tmp_path).trials_folder / "009-I-added")
    record.write_config(TrialConfig(train=train, evaluation=EVALUATION), 9, "I", "I-added")
    holder = LeaseHolder(str(tmp_path), "me", 1, this_process())
    plan = EnginePlan("solo", EngineSetup(str(tmp_path), {}), {}, holder, False, False, evaluation=EVALUATION)
    assert plan.job_of("009-I-added") == TrialJob(str(record.folder), TrialConfig(train=train, evaluation=EVALUATION))


def test_a_trial_that_a_search_has_added_takes_a_slot_as_any_other(make: Make) -> None:
    slots = make("a", to_come=1)
    assert slots.take("new") == "taken"
    let_go(slots)
    assert follow(slots, "new") == ([1, 2, 3], "done")


def test_a_trial_on_its_way_begins_in_the_next_free_slot_and_needs_nobody_to_follow_it(make: Make) -> None:
    slots = make(silent_s=0.0)
    for key in ("x", "y", "z", "x"):
        slots.begin(key)
    wait_until(lambda: sorted(slots.runs) == ["x", "y"])
    time.sleep(0.01)
    assert slots.expire() == []
    let_go(slots, 3 * STEPS)
    wait_until(lambda: sorted(slots.runs) == ["x", "y", "z"] and not slots.active())
    assert slots.take("x") == "taken"
    assert follow(slots, "x") == ([1, 2, 3], "done")


def test_where_a_scheduler_judges_a_trial_on_its_way_waits_at_its_first_report(make: Make) -> None:
    slots = make(lockstep=True)
    slots.begin("x")
    let_go(slots, STEPS)
    wait_until(lambda: len(slots.runs["x"].reports) == 1)
    time.sleep(0.05)
    assert len(slots.runs["x"].reports) == 1
    assert slots.take("x") == "taken"
    assert follow(slots, "x") == ([1, 2, 3], "done")


def test_a_trial_that_has_ended_runs_again_for_another_evaluation_and_no_other_one_does(
    make: Make, tmp_path: Path
) -> None:
    slots = make("a", "b")
    for key in "ab":
        slots.begin(key)
    let_go(slots, 2 * STEPS)
    wait_until(lambda: len(slots.runs) == 2 and not slots.active())
    TrialRecord(tmp_path / "b").write_result(TrialResult(state="failed", steps=1))
    larger = EVALUATION.model_copy(update={"validation_examples": 8})
    again = {
        key: TrialJob(job.folder, TrialConfig(train=job.trial.train, evaluation=larger))
        for key, job in slots.jobs.items()
    }
    slots.run_again(again)
    slots.run_again(again)
    wait_until(lambda: [run.key for run in slots.active()] == ["a"])
    assert slots.runs["a"].job == again["a"]
    let_go(slots, STEPS)
    wait_until(lambda: not slots.active())
    assert sorted(slots.engine.order) == ["a", "a", "b"]  # type: ignore[attr-defined]


def test_where_a_scheduler_judges_what_runs_again_waits_for_nobody(make: Make) -> None:
    slots = make("a", lockstep=True, silent_s=0.0)
    assert slots.take("a") == "taken"
    let_go(slots)
    assert follow(slots, "a") == ([1, 2, 3], "done")
    slots.run_again(dict(slots.jobs))
    let_go(slots, 1)
    wait_until(lambda: len(slots.runs["a"].reports) == 1)
    time.sleep(0.01)
    assert slots.expire() == []
    let_go(slots, STEPS - 1)
    wait_until(lambda: not slots.active())
    assert [report.step for report in slots.runs["a"].reports] == [1, 2, 3]
