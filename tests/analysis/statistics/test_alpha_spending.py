"""Critical values of repeated tests, against published bounds and simulated paths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.alpha_spending import (
    by_power,
    critical_values,
    like_obrien_fleming,
    like_pocock,
    spend,
)

QUARTERS = (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("function", "published"),
    [
        # Two-sided 5% at four equal looks, of Lan and DeMets' program (Reboussin and others 2000).
        (like_obrien_fleming, (4.333, 2.963, 2.359, 2.014)),
        (like_pocock, (2.368, 2.368, 2.358, 2.350)),
    ],
)
def test_four_equal_looks_have_their_published_bounds(function, published) -> None:
    found = critical_values(QUARTERS, spend(QUARTERS, 0.025, function))
    assert found == pytest.approx(published, abs=1.1e-3)


def test_one_look_is_the_plain_normal_test() -> None:
    assert critical_values((1.0,), (0.05,)) == pytest.approx((stats.norm.isf(0.05),), abs=1e-9)


def test_nothing_spent_is_a_bound_that_nothing_reaches() -> None:
    first, second = critical_values((0.5, 1.0), (0.0, 0.05))
    assert first > 30
    assert second == pytest.approx(stats.norm.isf(0.05), abs=1e-8)


def test_simulated_paths_cross_as_often_as_was_spent() -> None:
    times = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
    spent = spend(times, 0.05, by_power)
    bounds = critical_values(times, spent)
    steps = np.sqrt(np.diff((0.0, *times)))
    paths = np.cumsum(np.random.default_rng(0).normal(size=(200_000, 7)) * steps, axis=1) / np.sqrt(times)
    crossed = np.logical_or.accumulate(paths >= bounds, axis=1).mean(axis=0)
    assert crossed == pytest.approx(spent, abs=4 * np.sqrt(0.05 * 0.95 / 200_000))


def test_functions_spend_all_at_the_end() -> None:
    assert [function(1.0, 0.05) for function in (by_power, like_obrien_fleming, like_pocock)] == pytest.approx(
        [0.05] * 3
    )
