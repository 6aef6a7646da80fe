"""A search that is killed goes on with the trials that it had; with one place it tries what it would have tried."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.fault_searches import ONE_PLACE, SEARCH, check_study, kills_of_a_search
from benchmarks.fault_sweep import Sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_search_of_one_place_that_is_killed_tries_the_points_that_it_would_have_tried(tmp_path: Path) -> None:
    whole = Sweep(tmp_path / "whole" / "run", [*SEARCH, *ONE_PLACE]).run()
    check_study(whole.out)
    said = kills_of_a_search(tmp_path / "struck", random.Random("two kills"), 2, whole)
    assert said.startswith("2 kills, ")
