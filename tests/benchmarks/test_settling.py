"""Races on sweeps of known truth: what they lose, settle and cost; bounds that they could have had instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sweeps_on_disk import SMALL, baseline, configuration, grid, write_sweep

from analysis.records.load import load
from analysis.statistics.multiple_testing import Array
from analysis.statistics.racing import RaceRules, looks
from benchmarks.confidence_sequences import asymptotic_half_width, bernstein_lower, betting_lower
from benchmarks.drawn_sweeps import KINDS, calibrated, drawn, of_sweep, of_turns
from benchmarks.settling import RaceOutcomes, challengers, least_favourable, mean_of, raced, simulate
from trainables.errors import UserError

RULES = RaceRules(looks(16, 800))
SAMSUM = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "samsum"


def at_most(share: float, races: int) -> float:
    """Return the share that a procedure with exactly this error shows more than in one of a thousand simulations."""
    return float(stats.binom.ppf(0.999, races, share)) / races


@pytest.fixture(scope="module")
def matrix() -> Array:
    return calibrated()


def test_scores_that_are_made_up_are_spread_as_those_that_were_measured(matrix: Array) -> None:
    assert matrix.min() >= 0
    assert matrix.max() <= 1
    assert matrix.std(axis=1) == pytest.approx(np.full(16, 0.18), abs=0.005)
    assert np.corrcoef(matrix)[0, 1:] == pytest.approx(np.full(15, 0.67), abs=0.03)
    assert np.std(matrix[0] - matrix[1:], axis=1) == pytest.approx(np.full(15, 0.146), abs=0.006)
    assert stats.skew(matrix[0]) > 0.2


def test_a_drawn_sweep_has_the_truth_that_it_states(matrix: Array) -> None:
    sums = dict.fromkeys(KINDS["graded"], 0.0)
    for sweep in drawn(matrix, KINDS["graded"], 40, 2_000, seed=3):
        assert sweep.gaps[sweep.best] == 0
        for name, gap in sweep.gaps.items():
            sums[round(100 * gap, 6)] += float(sweep.scores[name].mean()) / 40
    assert [sums[0] - sums[gap] for gap in sums] == pytest.approx([gap / 100 for gap in sums], abs=0.003)
    first, second = (next(drawn(matrix, (0, 1), 1, 50, seed=4)) for _ in range(2))
    assert all((first.scores[name] == second.scores[name]).all() for name in "AB")


def test_a_finished_sweep_gives_the_scores_of_its_configurations(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "whole", grid(), SMALL)
    found = of_sweep(folder)
    assert found.shape == (8, 12)
    means = [row.summary.splits["validation"]["rougeL"] for row in load(folder).of_kind("configuration") if row.summary]
    assert found.mean(axis=1) == pytest.approx(means, abs=1e-9)
    with pytest.raises(UserError, match="holds 1 finished configurations"):
        of_sweep(write_sweep(tmp_path / "one", [baseline(), configuration("A")], SMALL))


def test_the_bounds_compared_are_those_of_their_authors_package() -> None:
    values = ((np.arange(1, 41) * 37 % 41) / 41 * 0.3 + 0.45)[None]
    # confseq 0.0.11: predmix_empbern_lower_cs(alpha=0.01); betting_mart(theta=1, trunc_scale=0.5) by bisection.
    assert bernstein_lower(values, 0.01)[0] == pytest.approx(0.361757757, abs=1e-9)
    assert betting_lower(values, 0.01, None)[0] == pytest.approx(0.479634, abs=1e-4)
    assert betting_lower(values, 0.01, 40)[0] == pytest.approx(0.479282, abs=1e-4)


def test_the_asymptotic_sequence_covers_at_all_times_at_once() -> None:
    count = np.arange(1, 1_001)
    means = np.cumsum(np.random.default_rng(0).normal(size=(4_000, 1_000)), axis=1) / count
    half = np.array([asymptotic_half_width(one, 0.05, 300) for one in count])
    crossed = float((means > half).any(axis=1).mean())
    assert 0.01 < crossed < at_most(0.05, 4_000)


def test_alpha_spending_writes_the_fewest_texts_of_all_procedures(matrix: Array) -> None:
    rules = RaceRules(RULES.looks, margin=0.02)
    found = {
        name: raced(drawn(matrix, (0, 0.3, 1, 2, 2, 3, 5, 8), 5, 800, seed=1), rules, bounds)
        for name, bounds in challengers(rules).items()
    }
    assert not any(one.lost or one.false_claim for one in found.values())
    ours = found.pop("alpha spending, t")
    assert all(ours.texts < one.texts for one in found.values())


@pytest.mark.slow
def test_races_settle_the_choice_for_less_than_half_of_the_texts(matrix: Array) -> None:
    kinds = simulate([matrix], RULES, 2_000, seed=11)
    found: RaceOutcomes = mean_of(kinds)
    assert found.races == 2_000
    assert found.lost < at_most(0.05, found.races)
    assert found.false_claim < at_most(0.05, found.races)
    assert 1 - found.settled < at_most(0.10, found.races)
    assert found.regret <= 0.3
    assert found.texts <= 0.45
    assert all(one.false_claim < at_most(0.05, one.races) for one in kinds.values())


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.016, 0.03, 0.05])
def test_the_truly_best_is_lost_in_one_race_of_twenty_at_most(matrix: Array, margin: float) -> None:
    found = least_favourable([matrix], RaceRules(RULES.looks, margin), 600, seed=12)
    assert max(found.lost, found.false_claim) < at_most(0.05, found.races)


@pytest.mark.slow
@pytest.mark.skipif(not SAMSUM.is_dir(), reason="../shared/real is absent")
def test_the_same_holds_for_scores_of_real_texts() -> None:
    found = mean_of(simulate([of_turns(SAMSUM, 600)], RULES, 500, seed=14))
    assert max(found.lost, found.false_claim) < at_most(0.05, found.races)
    assert 1 - found.settled < at_most(0.10, found.races)
    assert found.regret <= 0.3
    assert found.texts <= 0.45


@pytest.mark.slow
def test_the_error_holds_for_losses_without_bounds() -> None:
    draw = np.random.default_rng(5)
    losses = draw.gamma(4, 0.5, size=4_000) + draw.gamma(2, 0.07, size=(16, 4_000))  # skewed to the right
    found = least_favourable([-losses], RaceRules(RULES.looks, 0.016), 600, seed=13)
    assert max(found.lost, found.false_claim) < at_most(0.05, found.races)
