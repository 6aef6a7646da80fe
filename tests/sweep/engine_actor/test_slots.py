"""Slots: who runs, who is stopped and when, and that none is ever lost; with an engine that does what a test says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import STEPS, Scripted, begin, follow, jobs, let_go
from small_sweep import BASE, EVALUATION
from waiting import assert_stays, wait_until

from sweep.engine_actor.actor import EngineHost, EnginePlan, LeaseHolder
from sweep.engine_actor.slots import Slots
from sweep.environment.lease import Process, acquire, start_of, this_host, this_process
from sweep.monitor.engine_status import Event, Prepared, TrialEnd, Unprepared
from trainables.config import TrainConfig, TrialConfig
from trainables.jobs import EngineSetup, TrialReport
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult

Make = Callable[..., Slots]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def slots(*names: str, engine: Scripted | None = None, **options: Any) -> Slots:
        one = Slots(engine or Scripted(), jobs(tmp_path, *names), **options)
        one.open()
        made.append(one)
        return one

    yield slots
    for one in made:
        one.interrupt()
        wait_until(lambda one=one: not one.active())


def test_a_lost_device_ends_the_process_and_no_trial(make: Make) -> None:
    ended = threading.Event()
    slots = make("lost", on_device_lost=ended.set)
    begin(slots, "lost")
    let_go(slots)
    assert ended.wait(5)
    wait_until(lambda: not slots.active())
    assert not TrialRecord(Path(slots.jobs["lost"].folder)).result()


def test_a_trial_takes_a_slot_follows_its_reports_and_leaves_it(make: Make) -> None:
    slots = make("a", "b")
    assert slots.take("a") == "taken"
    assert slots.take("b") == "wait"
    let_go(slots)
    assert follow(slots, "a") == ([1, 2, 3], "done")
    assert slots.take("b") == "taken"


def test_without_a_scheduler_the_engine_runs_ahead_of_its_trial(make: Make) -> None:
    slots = make("a")
    begin(slots, "a")
    let_go(slots)
    wait_until(lambda: not slots.active())
    assert follow(slots, "a") == ([1, 2, 3], "done")


def test_in_lockstep_a_trial_waits_until_its_report_was_consumed(make: Make) -> None:
    slots = make("a", lockstep=True)
    begin(slots, "a")
    let_go(slots)
    wait_until(lambda: len(slots.runs["a"].reports) == 1)
    assert_stays(lambda: [report.step for report in slots.runs["a"].reports] == [1], 0.1)
    assert slots.next("a", 1) is None
    wait_until(lambda: len(slots.runs["a"].reports) == 2)


def test_a_trial_that_is_stopped_in_mid_run_ends_at_the_step_it_reported(make: Make) -> None:
    slots = make("a", "b", lockstep=True)
    begin(slots, "a")
    let_go(slots)
    wait_until(lambda: len(slots.runs["a"].reports) == 1)
    slots.stop("a")
    wait_until(lambda: not slots.active())
    result = TrialRecord(Path(slots.jobs["a"].folder)).result()
    assert result is not None
    assert result.content() == {"schema": 1, "state": "stopped", "steps": 1, "journals": {}}
    assert slots.take("b") == "taken"


def test_a_trial_that_is_stopped_after_its_last_step_is_done(make: Make) -> None:
    slots = make("a", lockstep=True)
    begin(slots, "a")
    let_go(slots)
    for number in range(STEPS):
        wait_until(lambda number=number: slots.next("a", number) is not None)
    slots.stop("a")
    wait_until(lambda: not slots.active())
    assert slots.runs["a"].end == TrialEnd("done")


def test_slots_are_given_in_the_order_of_the_plan_whoever_asks_first(make: Make) -> None:
    slots = make("a", "b", "c", ordered=True)
    assert slots.take("b") == "wait"
    assert slots.take("a") == "taken"
    let_go(slots)
    follow(slots, "a")
    assert slots.take("c") == "wait"
    assert slots.take("b") == "taken"


def test_a_new_process_does_not_wait_for_trials_that_are_finished(make: Make, tmp_path: Path) -> None:
    TrialRecord(tmp_path / "a").write_result(TrialResult(state="done"))
    assert make("a", "b", ordered=True).take("b") == "taken"


def test_a_run_begins_when_its_trial_asks_for_the_first_report(make: Make) -> None:
    slots = make("a")
    slots.take("a")
    let_go(slots)
    assert_stays(lambda: slots.engine.order == [], 0.1)  # type: ignore[attr-defined]
    assert follow(slots, "a")[1] == "done"


def test_several_slots_run_at_once(make: Make) -> None:
    slots = make("a", "b", "c", engine=Scripted(slots=2))
    assert [slots.take(key) for key in ("a", "b", "c")] == ["taken", "taken", "wait"]
    slots.next("a", 0)
    slots.next("b", 0)
    wait_until(lambda: sorted(slots.engine.order) == ["a", "b"])  # type: ignore[attr-defined]


def test_an_engine_that_raises_fails_that_trial_alone(make: Make) -> None:
    slots = make("broken", "b")
    begin(slots, "broken")
    let_go(slots)
    assert follow(slots, "broken") == ([], "failed")
    record = TrialRecord(Path(slots.jobs["broken"].folder))
    result = record.result()
    assert result is not None
    assert (result.state, result.cause) == ("failed", "KeyError: 'no such tensor'")
    assert "Traceback" in record.error_path.read_text()
    assert slots.take("b") == "taken"
    let_go(slots)
    assert follow(slots, "b")[1] == "done"


def test_an_interrupt_ends_every_run_without_a_result_and_closes_the_slots(make: Make) -> None:
    slots = make("a", "b")
    begin(slots, "a")
    slots.interrupt()
    assert follow(slots, "a") == ([], "interrupted")
    assert TrialRecord(Path(slots.jobs["a"].folder)).result() is None
    assert slots.take("a") == "closed"
    assert slots.take("b") == "closed"


def test_an_engine_that_cannot_write_pauses_all(make: Make) -> None:
    slots = make("full", "b")
    begin(slots, "full")
    let_go(slots)
    follow(slots, "full")
    assert slots.paused == "the disk is full"
    assert slots.take("b") == "closed"


def test_runs_begin_before_their_trials_come_and_wait_for_them_at_the_first_report(make: Make) -> None:
    slots = make("a", "b", "c", engine=Scripted(slots=2), lockstep=True, early=True, silent_s=0.5)
    wait_until(lambda: sorted(slots.engine.order) == ["a", "b"])
    let_go(slots, 2 * STEPS)
    wait_until(lambda: all(len(run.reports) == 1 for run in slots.active()))
    assert slots.take("c") == "wait"
    assert slots.take("a") == "taken"
    assert slots.next("a", 0) == TrialReport(1, 1.0)
    slots.stop("a")
    wait_until(lambda: sorted(slots.engine.order) == ["a", "b", "c"])
    assert slots.runs["a"].end == TrialEnd("stopped")
    expired: list[str] = []  # trials that have not come: their slots are not lost
    wait_until(lambda: expired.extend(slots.expire()) or sorted(expired) == ["b", "c"])
    wait_until(lambda: not slots.active())
    assert slots.take("b") == "taken"


def test_a_silent_trial_loses_its_slot_and_may_come_back(make: Make) -> None:
    slots = make("a", silent_s=0.05)
    begin(slots, "a")
    assert wait_until(slots.expire) == ["a"]
    wait_until(lambda: not slots.active())
    assert slots.take("a") == "taken"
    let_go(slots)
    assert follow(slots, "a")[1] == "done"


def test_a_trial_whose_process_died_loses_its_slot(make: Make) -> None:
    slots = make("a", "b", dead_s=0.0)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    begin(slots, "a", Process(this_host(), child.pid, start_of(child.pid) or 0))
    assert slots.expire() == []
    child.kill()
    child.wait()
    assert slots.expire() == ["a"]
    wait_until(lambda: not slots.active())
    assert slots.take("b", this_process()) == "taken"


def test_a_trial_that_comes_back_follows_the_run_that_is_there(make: Make) -> None:
    slots = make("a")
    begin(slots, "a")
    let_go(slots, 2)
    wait_until(lambda: len(slots.runs["a"].reports) == 2)
    assert slots.take("a", this_process()) == "taken"
    let_go(slots, 1)
    assert follow(slots, "a") == ([1, 2, 3], "done")
    assert slots.engine.order == ["a"]  # type: ignore[attr-defined]


# --- the actor around it -------------------------------------------------------------------------------------------


def plan_of(folder: Path, names: tuple[str, ...] = ("a",)) -> EnginePlan:
    lease = acquire(folder)
    holder = LeaseHolder(str(folder), lease.owner, lease.generation, this_process())
    kind = "scripted_engine:Scripted"
    return EnginePlan(kind, EngineSetup(str(folder), {}), jobs(folder, *names), holder, lockstep=False, ordered=True)


def test_the_actor_gives_no_slot_before_it_is_opened_and_runs_trials_then(tmp_path: Path) -> None:
    async def scenario() -> list[Any]:
        host = EngineHost(plan_of(tmp_path), restarted=False)
        trials = [job.trial for job in host.plan.jobs.values()]
        facts = await host.prepare(trials, preflight=True)
        before = await host.take("a", this_process())
        await host.open()
        after = await host.take("a", this_process())
        assert host.slots is not None
        let_go(host.slots)
        events: list[Event] = []
        while not events or not isinstance(events[-1], TrialEnd):
            events.append(await host.next("a", len(events)))
        return [facts, before, after, events[-1], (await host.status()).runs]

    expected = [Prepared("scripted", 1, ("1 trial was checked",)), "wait", "taken", TrialEnd("done"), ()]
    assert asyncio.run(scenario()) == expected


def test_a_refusal_of_the_preflight_comes_back_as_a_sentence(tmp_path: Path) -> None:
    trial = TrialConfig(train=TrainConfig(**{**BASE, "prompt": "refuse"}), evaluation=EVALUATION)
    host = EngineHost(plan_of(tmp_path), restarted=False)
    assert asyncio.run(host.prepare([trial], preflight=True)) == Unprepared("the cue is cut")


HOLD = """
import sys, time
from pathlib import Path
from sweep.engine_actor.actor import EngineHost, LeaseHolder, EnginePlan
from sweep.environment.lease import Process
from trainables.jobs import EngineSetup, TrialReport
folder, owner, generation, host, pid, started = sys.argv[1:]
holder = LeaseHolder(folder, owner, int(generation), Process(host, int(pid), float(started)))
EngineHost(EnginePlan("scripted_engine:Scripted", EngineSetup(folder, {}), {}, holder, False, True), restarted=False)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what_ends", ["driver", "lease"])
def test_an_engine_leaves_within_seconds_of_its_driver_or_its_lease(tmp_path: Path, what_ends: str) -> None:
    driver = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lease = acquire(tmp_path)
    arguments = [lease.owner, str(lease.generation), this_host(), str(driver.pid), str(start_of(driver.pid))]
    engine = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert engine.stdout is not None
    assert engine.stdout.readline() == b"up\n"
    assert_stays(lambda: engine.poll() is None, 0.6)
    if what_ends == "driver":
        driver.kill()
    else:
        lease.release()
    assert engine.wait(timeout=5) == (3 if what_ends == "driver" else 4)
    driver.kill()
    driver.wait()
