"""How often the report is wrong, and how often it finds what is there, over thousands of drawn sweeps.

Bounds allow for the error of the simulation itself: a procedure with exactly 5% shows more than 5% half of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from simulated import comparison, systems
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.findings import effects
from analysis.findings.baseline_sentences import baseline_sentences, examples_for
from analysis.findings.baselines import against_baselines
from analysis.findings.findings import Findings
from analysis.findings.winner import winner
from analysis.statistics.paired import paired
from trainables.config import EvalConfig

Make = Callable[..., Path]
CONFIGURATIONS = 8
TRUTH = 0.4


def standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)


@pytest.mark.parametrize("n", [10, 50])
def test_t_intervals_cover_the_true_difference_in_95_of_100(n: int) -> None:
    draw = np.random.default_rng(n)
    covered = 0
    for values in draw.normal(0.01, 0.146, size=(20_000, n)).tolist():
        one = paired(values)
        assert one is not None
        covered += one.low <= 0.01 <= one.high
    assert 0.94 <= covered / 20_000 <= 0.96


@pytest.mark.parametrize("n", [10, pytest.param(20, marks=pytest.mark.slow)])
def test_the_reported_winner_is_not_better_than_it_is(n: int) -> None:
    draw = np.random.default_rng(n)
    raw, corrected = [], []
    for _ in range(600):
        won = winner(comparison({"test": systems(draw, 1 + CONFIGURATIONS, n)}))
        assert won is not None
        raw.append(100 * (won.raw - TRUTH))
        corrected.append(100 * (won.estimate - TRUTH))
    assert np.mean(raw) >= 3
    assert abs(np.mean(corrected)) <= 0.5


def test_a_winner_chosen_on_validation_is_worth_on_test_what_test_says() -> None:
    draw = np.random.default_rng(0)
    found = []
    for _ in range(400):
        values = {split: systems(draw, 1 + CONFIGURATIONS, 20) for split in ("validation", "test")}
        won = winner(comparison(values), resamples=50)
        assert won is not None
        found.append(100 * (won.estimate - TRUTH))
    assert abs(np.mean(found)) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 50])
def test_a_null_sweep_earns_a_star_in_two_to_six_of_a_hundred(n: int) -> None:
    draw = np.random.default_rng(n)
    holm, largest, uncorrected = 0, 0, 0
    for _ in range(2_000):
        tests = against_baselines(comparison({"test": systems(draw, 1 + CONFIGURATIONS, n)}), ["rougeL"])
        holm += any(one.has_star for one in tests)
        largest += min(one.p_max_t for one in tests) < 0.05
        uncorrected += min(one.p for one in tests) < 0.05
    assert 0.02 <= holm / 2_000 <= 0.06
    assert abs(largest / 2_000 - 0.05) <= 4 * standard_error(0.05, 2_000)
    assert uncorrected / 2_000 >= 0.2  # what the correction is for


@pytest.mark.slow
def test_a_gain_of_two_points_is_found_with_the_examples_that_the_report_asks_for() -> None:
    draw = np.random.default_rng(0)
    gains = np.zeros(1 + CONFIGURATIONS)
    gains[3] = 0.02
    found, count = 0, 0
    for _ in range(5):
        pilot = comparison({"test": systems(draw, 1 + CONFIGURATIONS, 100, gains)})
        tests = against_baselines(pilot, ["rougeL"])
        needed = examples_for(tests, 0.02)
        assert needed is not None
        assert needed < 1_500
        for _ in range(80):
            again = comparison({"test": systems(draw, 1 + CONFIGURATIONS, needed, gains)})
            planted = next(one for one in against_baselines(again, ["rougeL"]) if one.name == "C3")
            found += planted.verdict == "better"
            count += 1
    assert found / count >= 0.8


def test_a_null_sweep_has_a_report_that_claims_nothing(make_sweep: Make) -> None:
    same = {name: {"quality": 0.5} for name in "ABCDEFGH"}
    trials = [baseline("v1", quality=0.5), baseline("v2", quality=0.5), *grid(**same)[2:]]
    found = compare(make_sweep(trials, EvalConfig(validation_examples=30, test_examples=60)))
    findings = Findings(found)
    assert not any(one.has_star for one in findings.every_test)
    assert not any(one.is_clear for one in findings.effects)
    assert not any(one.is_separable for one in findings.against_best)
    said = " ".join(findings.sentences)
    assert "None of 8 configurations is better than the untrained model" in said
    assert "one of 2.00 points needs about" in said
    assert "No effect on ROUGE-L holds" in said


def test_a_planted_gain_is_found_where_it_is_and_nowhere_else(make_sweep: Make) -> None:
    trials = [baseline("v1", quality=0.5)]
    trials += [configuration(name, rank=2**place, quality=0.5) for place, name in enumerate("ABC")]
    trials += [configuration("D", rank=8, quality=0.75)]
    found = compare(make_sweep(trials, EvalConfig(validation_examples=30, test_examples=60)))
    tests = against_baselines(found, ["rougeL"])
    assert {one.name: one.verdict for one in tests if one.has_star} == {"D": "better"}
    assert found.best
    assert found.best.name == "D"
    assert all(one.is_separable for one in Findings(found).against_best)
    assert baseline_sentences(found, tests)[0].startswith("1 of 4 configurations (D) is better")
    assert [one.term for one in effects.effects(found) if one.is_clear] == ["lora_rank"]
