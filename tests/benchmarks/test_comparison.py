"""Ratios, agreement and rows of the makespan, from measurements that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.comparison import Outcome, facts_of, tables
from benchmarks.output import table
from benchmarks.systems import SYSTEMS, Plan, plan_for, times_of
from benchmarks.timeline import Times
from benchmarks.work import Work, make_work

PEERS = ("a", "b", "c")


@pytest.fixture(scope="module")
def work() -> Work:
    return make_work("pocket", "fp32", trials=2, steps=8)


def outcome(work: Work, system: str, wall_s: float, losses: dict[tuple[int, int], float]) -> Outcome:
    plan = Plan(system, work, "cpu", 1, 8, (0, 1))
    return Outcome(plan, Times(wall_s, wall_s / 2, False), 10**9, "PSS", losses)


def rows(work: Work, seconds: dict[str, float], apart: float = 0.0) -> dict[str, Outcome]:
    found = {system: Outcome(None, None, reason="not measured: needs a GPU") for system in SYSTEMS}
    for system, wall_s in seconds.items():
        losses = {(0, 4): 2.0 * (1 + apart * (system in PEERS)), (1, 4): 3.0}
        found[system] = outcome(work, system, wall_s, losses)
    return found


def test_a_speedup_is_between_systems_in_their_faster_precision(work: Work) -> None:
    fp32 = rows(work, {"a": 80.0, "b": 40.0, "d": 10.0})
    bf16 = rows(work, {"a": 90.0, "b": 30.0, "d": 5.0})
    facts = facts_of("pocket", {"fp32": fp32, "bf16": bf16})
    assert facts["speedup"] == {"a": 16.0, "b": 6.0}
    assert facts["by_precision"]["fp32"]["speedup"] == {"a": 8.0, "b": 4.0}


@pytest.mark.parametrize(("apart", "agree"), [(1e-6, True), (1e-3, False), (float("nan"), False)])
def test_losses_agree_within_the_tolerance_of_the_precision(work: Work, apart: float, agree: bool) -> None:
    facts = facts_of("pocket", {"fp32": rows(work, {"b": 2.0, "d": 1.0}, apart)})
    assert facts["losses_agree"] is agree


def test_without_a_peer_nothing_is_said_of_agreement(work: Work) -> None:
    facts = facts_of("pocket", {"fp32": rows(work, {"d": 1.0, "d0": 1.0})})
    assert facts["losses_agree"] is None
    assert facts["speedup"] == {}


def test_where_ray_is_absent_peers_are_compared_with_the_engine_alone(work: Work) -> None:
    facts = facts_of("pocket", {"fp32": rows(work, {"b": 6.0, "d0": 2.0})})
    assert (facts["speedup"], facts["speedup_of"]) == ({"b": 3.0}, "d0")
    both = facts_of("pocket", {"fp32": rows(work, {"b": 6.0, "d": 3.0, "d0": 2.0})})
    assert (both["speedup"], both["speedup_of"]) == ({"b": 2.0}, "d")


def test_how_many_losses_were_compared_is_said(work: Work) -> None:
    measured = rows(work, {"b": 6.0, "d": 2.0}, apart=1e-6)
    measured["b"] = replace(measured["b"], losses={(0, 4): 2.0})
    facts = facts_of("pocket", {"fp32": measured})["by_precision"]["fp32"]
    assert facts["losses_compared"] == {"b": 1, "d": 2}


def test_memory_on_a_gpu_has_a_column_of_its_own(work: Work) -> None:
    measured = rows(work, {"b": 6.0, "d": 2.0})
    measured["d"] = replace(measured["d"], gpu_peak_bytes=5 * 10**9)
    (made,) = tables(work, "fp32", measured)
    assert [cell for cell in made.columns[6].cells if cell] == ["5.00 GB"]


def test_every_system_is_a_row_and_one_without_a_measurement_says_so(work: Work) -> None:
    (made,) = tables(work, "fp32", rows(work, {"a": 2.0, "d": 1.0}))
    assert made.row_count == len(SYSTEMS)
    assert [cell for cell in made.columns[-1].cells if cell] == ["not measured: needs a GPU"] * 5
    assert isinstance(made, type(table("", ["x"], [])))


def test_the_time_after_load_is_that_of_systems_whose_trials_share_a_base(work: Work) -> None:
    marks = [{"time": 103.0, "event": "started", "trial": None}]
    found = {"marks": marks, "began": 100.0, "ended": 110.0}
    times = {system: times_of(Plan(system, work, "cpu", 1, 8, (0, 1)), found) for system in ("a", "b", "d")}
    assert {system: one.after_load_s for system, one in times.items()} == {"a": None, "b": 7.0, "d": 7.0}
    measured = rows(work, {"b": 2.0, "d": 10.0})
    measured["d"] = replace(measured["d"], times=times["d"])
    of_b, of_d = (facts_of("pocket", {"fp32": measured})["by_precision"]["fp32"]["systems"][one] for one in "bd")
    assert (of_b["after_load_s"], of_d["after_load_s"]) == (None, 7.0)
    (made,) = tables(work, "fp32", measured)
    assert [cell for cell in made.columns[2].cells if cell] == ["7.0 s"]


def test_a_peer_may_be_measured_in_part_and_this_project_never(work: Work) -> None:
    long = make_work("pocket", "fp32", trials=8, steps=32)
    assert plan_for("b", long, "cpu", peer_steps=8).chosen == (0,)
    assert plan_for("a", long, "cpu", at_a_time=2, peer_steps=8).chosen == (0, 1)
    assert plan_for("d", long, "cpu", peer_steps=8).is_whole
    assert plan_for("b", long, "cpu").is_whole
    assert plan_for("b", long, "cpu").identity != plan_for("b", work, "cpu").identity
