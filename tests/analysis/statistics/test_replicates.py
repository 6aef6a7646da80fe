"""Replicates of those left of a race, against plain tests of scipy and simulated runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.replicates import ReplicateRace, pooled_spread, quantile, replicate_race


def finished(truth: list[float], run_sd: float, margin: float, draw: np.random.Generator) -> ReplicateRace:
    """Race configurations of these true means, running each only when it is asked for."""
    means = {name: [value + draw.normal(0, run_sd)] for name, value in zip("ABCD", truth, strict=False)}
    found = replicate_race(means, margin)
    while found.verdict == "going":
        for name in found.going:
            while len(means[name]) < found.next_runs:
                means[name].append(truth["ABCD".index(name)] + draw.normal(0, run_sd))
        found = replicate_race(means, margin)
    return found


def test_the_last_comparison_of_two_is_a_pooled_t_test() -> None:
    first, second = [0.52, 0.55, 0.53], [0.50, 0.49, 0.51]
    spread, degrees = pooled_spread([np.array(first), np.array(second)])
    assert degrees == 4
    error = spread * np.sqrt(2 / 3)
    assert (np.mean(first) - np.mean(second)) / error == pytest.approx(stats.ttest_ind(first, second).statistic)
    found = replicate_race({"A": first, "B": second}, 0.001, most=3)
    assert found.best == "A"
    assert found.at_most["B"] == pytest.approx(np.mean(second) - np.mean(first) + quantile(3, 3, 4, 0.05) * error)


def test_runs_that_hardly_differ_settle_at_once() -> None:
    found = replicate_race({"A": [0.5, 0.5001], "B": [0.45, 0.4501]}, 0.01)
    assert (found.verdict, found.best, found.runs, found.going) == ("separated", "A", 2, ())
    same = replicate_race({"A": [0.5, 0.5001], "B": [0.5001, 0.5]}, 0.01)
    assert same.verdict == "equivalent"


def test_another_seed_is_asked_for_those_left_alone() -> None:
    found = replicate_race({"A": [0.50, 0.51], "B": [0.495, 0.508], "C": [0.30, 0.31]}, 0.01)
    assert (found.verdict, found.going, found.next_runs) == ("going", ("A", "B"), 3)


def test_seeds_that_would_not_settle_it_are_not_run() -> None:
    found = replicate_race({"A": [0.50, 0.60], "B": [0.62, 0.51]}, 0.001)
    assert (found.verdict, found.runs) == ("used up", 2)


def test_runs_that_were_not_asked_for_change_nothing() -> None:
    means = {"A": [0.50, 0.51, 0.507], "B": [0.495, 0.508, 0.50], "C": [0.30, 0.31]}
    assert replicate_race(means, 0.01) == replicate_race({**means, "C": [0.30, 0.31, 0.9]}, 0.01)


def test_one_configuration_needs_no_seed() -> None:
    assert replicate_race({"A": [0.5]}, 0.01).verdict == "separated"


@pytest.mark.parametrize(("means", "most"), [({}, 5), ({"A": []}, 5), ({"A": [0.5], "B": [0.5]}, 1)])
def test_runs_that_cannot_be_compared_are_refused(means: dict[str, list[float]], most: int) -> None:
    with pytest.raises(ValueError, match="replicates need"):
        replicate_race(means, 0.01, most)


def test_the_best_of_many_runs_is_seldom_lost() -> None:
    draw = np.random.default_rng(0)
    truth, margin, races = [0.5, 0.4899, 0.4899, 0.4899], 0.01, 300
    found = [finished(truth, 0.006, margin, draw) for _ in range(races)]
    claims = [one for one in found if one.verdict != "used up"]
    lost = sum(one.best != "A" for one in claims)
    assert len(claims) > races / 2
    assert lost <= stats.binom.ppf(0.999, races, 0.05)
