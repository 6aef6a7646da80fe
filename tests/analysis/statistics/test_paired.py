"""Paired statistics against scipy.stats and against published numbers."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest
from scipy import stats as scipy_stats

from analysis.statistics.paired import examples_needed, paired, smallest_detectable

# Ten differences in ROUGE of two published systems, with the answers that scipy and R give.
DIFFERENCES = [
    *(-0.1875, 0.041667, 0.051394, 0.032960, 0.042857),
    *(-0.261538, -0.143030, -0.081633, -0.096296, 0.0),
]


def test_the_interval_of_a_published_pair_is_the_published_one() -> None:
    found = paired(DIFFERENCES)
    assert found is not None
    assert found.mean == pytest.approx(-0.060112, abs=1e-6)
    assert found.sd == pytest.approx(0.111115, abs=1e-6)
    assert found.p == pytest.approx(0.121290, abs=1e-5)
    assert (found.low, found.high) == pytest.approx((-0.139599, 0.019375), abs=1e-6)
    assert found.mean / found.sd == pytest.approx(-0.540988, abs=1e-5)
    assert not found.is_clear


@pytest.mark.parametrize("n", [2, 5, 128])
def test_interval_and_p_are_those_of_scipy(n: int) -> None:
    draw = random.Random(n)
    first = [draw.gauss(0.3, 0.2) for _ in range(n)]
    second = [value - draw.gauss(0.03, 0.1) for value in first]
    oracle = scipy_stats.ttest_rel(first, second)
    interval = oracle.confidence_interval(0.95)
    found = paired([a - b for a, b in zip(first, second, strict=True)])
    assert found is not None
    assert found.n == n
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.is_clear == (oracle.pvalue < 0.05)


def test_equal_systems_one_example_and_none_have_an_answer() -> None:
    same = paired([0.0, 0.0, 0.0])
    assert same is not None
    assert (same.mean, same.low, same.high, same.p, same.is_clear) == (0, 0, 0, 1, False)
    always = paired([0.5, 0.5])
    assert always is not None
    assert (always.low, always.high, always.p, always.is_clear) == (0.5, 0.5, 0, True)
    one = paired([0.5])
    assert one is not None
    assert (one.low, one.high, one.is_clear) == (-math.inf, math.inf, False)
    assert paired([]) is None


@pytest.mark.parametrize(("n", "points"), [(100, 4.1), (500, 1.8)])
def test_the_smallest_detectable_difference_of_published_systems(n: int, points: float) -> None:
    assert round(smallest_detectable(14.6, n), 1) == points


@pytest.mark.parametrize("n", [10, 20, 128])
def test_a_difference_called_detectable_is_found_four_times_in_five(n: int) -> None:
    shift = smallest_detectable(1.0, n) * math.sqrt(n)
    limit = scipy_stats.t.ppf(0.975, n - 1)
    assert scipy_stats.nct.sf(limit, n - 1, shift) == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize(("sd", "difference"), [(0.146, 0.018), (0.1, 0.2), (14.6, -0.5)])
def test_the_examples_needed_are_the_fewest_that_show_the_difference(sd: float, difference: float) -> None:
    needed = examples_needed(sd, difference)
    assert needed is not None
    assert smallest_detectable(sd, needed) <= abs(difference) < smallest_detectable(sd, needed - 1)


def test_no_number_of_examples_shows_a_difference_of_nothing() -> None:
    assert examples_needed(0.1, 0.0) is None
    assert examples_needed(0.1, 1e-9) is None


def test_statistics_do_not_import_scipy_stats() -> None:
    check = "import sys; from analysis.statistics.paired import paired; paired([1.0, 2.0]); "
    check += "print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "False\n"
