"""Ratios within seeds and regrets of choices, from decisions that are known."""

from __future__ import annotations

import pytest

from benchmarks.deciding.systems import Cost
from benchmarks.deciding.tables import leading, rows_of
from benchmarks.deciding.truth import regret_of

POINTS = {"best": 60.0, "near": 59.75, "poor": 31.0}


def cost(system: str, seed: int, wall_s: float, chosen: str) -> Cost:
    return Cost(system, seed, wall_s, wall_s / 2, 1000, 64, chosen, 0.5)


def test_ratios_are_within_a_seed_and_a_slow_hour_does_not_count() -> None:
    ours = [cost("d", 0, 10, "best"), cost("d", 1, 100, "best"), cost("d", 2, 20, "best")]
    peer = [cost("a", 0, 40, "near"), cost("a", 1, 400, "poor"), cost("a", 2, 90, "near"), cost("a", 7, 1, "best")]
    rows = rows_of({"a": peer, "d": ours}, POINTS)
    assert rows["d"].wall_ratio == 1
    assert rows["a"].wall_ratio == 4
    assert (rows["a"].wall_s, rows["d"].wall_s) == (65, 20)


def test_a_choice_is_as_far_behind_as_the_truth_says() -> None:
    rows = rows_of({"a": [cost("a", 0, 9, "near"), cost("a", 1, 9, "poor"), cost("a", 2, 9, "best")]}, POINTS)
    assert rows["a"].regret == pytest.approx((0.25 + 29 + 0) / 3)
    assert (rows["a"].largest_regret, rows["a"].close) == (29, 2)
    assert rows["a"].wall_ratio is None  # nobody to compare with
    assert regret_of(POINTS, "near") == 0.25


def test_without_a_truth_only_costs_are_told() -> None:
    (row,) = rows_of({"c": [cost("c", 0, 9, "best")]}, None).values()
    assert (row.regret, row.close, row.wall_s) == (None, None, 9)


def test_the_others_are_compared_with_what_settles_where_it_was_measured() -> None:
    found = {system: [cost(system, 0, 9, "best")] for system in ("a", "c", "d")}
    assert leading(found) == "d"
    assert leading({**found, "d": []}) == "c"
    assert leading({"a": found["a"]}) is None
