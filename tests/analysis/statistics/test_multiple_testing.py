"""Tests of paired differences and corrections, against enumeration, published numbers, scipy and statsmodels."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics.multiple_testing import (
    ALPHA,
    attainable_p,
    benjamini_hochberg,
    flips_for,
    holm,
    is_attainable,
    pair_test,
    sign_flips,
)
from analysis.statistics.paired import examples_needed, smallest_detectable, upper_sd

KNOWN = Path(__file__).resolve().parents[3].parent / "shared" / "real" / "known_answers"
# Ten differences in ROUGE of two published systems.
DIFFERENCES = [
    *(-0.1875, 0.041667, 0.051394, 0.032960, 0.042857),
    *(-0.261538, -0.143030, -0.081633, -0.096296, 0.0),
]
RAW = [
    *(0.017960, 0.152669, 0.783690, 0.199040, 0.033705, 0.040123),
    *(0.131977, 0.049511, 0.014127, 0.063479, 0.037315, 0.029173),
]
HOLM = [
    *(0.197564, 0.527907, 0.783690, 0.527907, 0.303342, 0.303342),
    *(0.527907, 0.303342, 0.169520, 0.317393, 0.303342, 0.291727),
]
BH = [
    *(0.080245, 0.183203, 0.783690, 0.217134, 0.080245, 0.080245),
    *(0.175969, 0.084876, 0.080245, 0.095218, 0.080245, 0.080245),
]


def enumerated(values: list[float]) -> float:
    """Return the two-sided sign-flip p by listing every sign."""
    observed = abs(math.fsum(values))
    signs = list(itertools.product((-1, 1), repeat=len(values)))
    reached = [abs(math.fsum(s * v for s, v in zip(one, values, strict=True))) >= observed - 1e-12 for one in signs]
    return sum(reached) / len(signs)


def test_a_published_pair_has_its_published_answers() -> None:
    found = pair_test(DIFFERENCES)
    assert found is not None
    assert found.p_flip == 124 / 1024
    assert found.paired.p == pytest.approx(0.121290, abs=1e-6)
    assert (found.paired.low, found.paired.high) == pytest.approx((-0.139599, 0.019375), abs=1e-6)
    assert found.d_z == pytest.approx(-0.540988, abs=1e-5)
    assert (found.wins, found.ties, found.losses) == (0.4, 0.1, 0.5)
    assert found.attainable == 2 / 2**9  # one of the ten does not differ


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_up_to_twelve_examples_every_sign_is_counted(n: int) -> None:
    values = np.random.default_rng(n).normal(0.3, 1, size=n).round(2).tolist()
    found = sign_flips(np.array(values)[:, None])
    assert found.is_exact
    assert found.flips == 2**n
    assert found.p[0] == enumerated(values)


def test_equal_differences_tie_and_are_counted_as_reaching() -> None:
    values = [0.1] * 7 + [-0.1] * 2
    assert sign_flips(np.array(values)[:, None]).p[0] == enumerated(values)
    both = sum(math.comb(9, k) for k in (0, 1, 2, 7, 8, 9)) / 2**9
    assert enumerated(values) == both


@pytest.mark.parametrize("n", [13, 50])
def test_drawn_signs_agree_with_scipy_and_are_the_same_again(n: int) -> None:
    values = np.random.default_rng(n).normal(0.35, 1, size=(n, 2))
    found = sign_flips(values)
    assert not found.is_exact
    assert found.flips == 10_000
    again = sign_flips(values)
    assert (found.p == again.p).all()
    for column, p in zip(values.T, found.p, strict=True):
        oracle = scipy_stats.permutation_test(
            (column,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
        )
        error = 5 * math.sqrt(oracle.pvalue * (1 - oracle.pvalue) * (1 / 10_000 + 1 / 20_000))
        assert p == pytest.approx(oracle.pvalue, abs=error + 1e-4)


def test_no_p_is_zero_however_large_the_effect() -> None:
    found = sign_flips(np.full((40, 1), 0.5))
    assert found.p[0] == 1 / 10_001 == found.attainable[0]


def test_the_attainable_p_of_few_examples() -> None:
    assert [attainable_p(n) for n in (0, 1, 5, 10, 12)] == [1, 1, 0.0625, 2 / 1024, 2 / 4096]
    assert attainable_p(500) == 1 / 10_001
    assert attainable_p(500, flips_for(1000)) * 1000 < ALPHA


def test_no_star_is_attainable_where_the_smallest_p_does_not_survive_the_correction() -> None:
    assert is_attainable([2 / 2**9] * 8)
    assert not is_attainable([2 / 2**7] * 8)
    assert not is_attainable([0.0625])
    assert not is_attainable([])


def test_nothing_differs_and_nothing_is_found() -> None:
    found = sign_flips(np.zeros((20, 3)))
    assert (found.p == 1).all()
    assert (found.p_max == 1).all()
    assert (found.attainable == 1).all()
    same = pair_test([0.0] * 20)
    assert same is not None
    assert (same.d_z, same.ties, same.is_equivalent) == (None, 1.0, False)


def test_one_example_and_none_have_an_answer() -> None:
    assert pair_test([]) is None
    assert pair_test([math.nan]) is None
    one = pair_test([0.4])
    assert one is not None
    assert (one.p_flip, one.p_equivalent, one.d_z) == (1.0, 1.0, None)
    assert one.paired.low == -math.inf


def test_examples_without_a_score_are_left_out() -> None:
    with_gap = pair_test([*DIFFERENCES[:5], math.nan, *DIFFERENCES[5:]])
    assert with_gap == pair_test(DIFFERENCES)
    columns = np.array([[*DIFFERENCES, math.nan], [*DIFFERENCES[::-1], 0.1]]).T
    assert sign_flips(columns).p[0] == 124 / 1024


def test_the_largest_statistic_is_that_of_t_under_the_same_signs() -> None:
    values = np.random.default_rng(3).normal(0.2, [1, 5, 0.1], size=(9, 3))
    signs = np.array(list(itertools.product((-1, 1), repeat=9)))
    flipped = signs[:, :, None] * values
    t = np.abs(flipped.mean(axis=1)) / (flipped.std(axis=1, ddof=1) / 3)
    observed = np.abs(scipy_stats.ttest_1samp(values, 0).statistic)
    expected = [(t.max(axis=1) >= one - 1e-9).mean() for one in observed]
    assert sign_flips(values).p_max == pytest.approx(expected)


def test_max_t_gains_on_holm_where_comparisons_are_correlated() -> None:
    shared = np.random.default_rng(0).normal(0.3, 1, size=(60, 1))
    values = shared + np.random.default_rng(1).normal(0, 0.2, size=(60, 8))
    found = sign_flips(values)
    corrected = holm(found.p)
    assert (found.p_max >= found.p).all()
    assert found.p_max.min() < corrected.min()


def test_holm_and_benjamini_hochberg_of_published_values() -> None:
    # Published with six decimals, and up to twelve times as large after correction.
    assert holm(RAW) == pytest.approx(HOLM, abs=7e-6)
    assert benjamini_hochberg(RAW) == pytest.approx(BH, abs=7e-6)


@pytest.mark.parametrize("count", [1, 2, 9, 200])
def test_corrections_are_those_of_statsmodels(count: int) -> None:
    p = np.random.default_rng(count).beta(0.5, 2, size=count).round(3)  # with ties
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])


def test_a_missing_p_stays_missing_and_does_not_count() -> None:
    found = holm([0.01, math.nan, 0.04])
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(found[1])


@pytest.mark.skipif(not (KNOWN / "statsmodels_multtest").exists(), reason="tables of R's multtest are not here")
def test_corrections_are_those_of_r() -> None:
    tables = json.loads((KNOWN / "statsmodels_multtest" / "multtest.json").read_text())["tables"]
    assert tables
    for table in tables.values():
        columns = dict(zip(table["columns"], np.array(table["rows"], dtype=float).T, strict=True))
        assert holm(columns["rawp"]) == pytest.approx(columns["Holm"], abs=1e-12)
        assert benjamini_hochberg(columns["rawp"]) == pytest.approx(columns["BH"], abs=1e-12)


@pytest.mark.parametrize(("mean", "n"), [(0.0, 30), (0.004, 200), (0.05, 40), (-0.008, 400)])
def test_equivalence_is_that_of_statsmodels(mean: float, n: int) -> None:
    values = np.random.default_rng(n).normal(mean, 0.06, size=n)
    found = pair_test(values, margin=0.01)
    assert found is not None
    oracle = DescrStatsW(values).ttost_mean(-0.01, 0.01)[0]
    assert found.p_equivalent == pytest.approx(oracle)
    assert found.is_equivalent == (oracle < 0.05)


def test_a_clear_difference_can_be_equivalent_within_a_margin() -> None:
    values = np.random.default_rng(0).normal(0.004, 0.01, size=400)
    found = pair_test(values)
    assert found is not None
    assert found.paired.is_clear
    assert found.is_equivalent


def test_an_sd_is_at_most_its_upper_limit_four_times_in_five() -> None:
    draws = np.random.default_rng(0).normal(size=(4_000, 20)).std(axis=1, ddof=1)
    share = np.mean([upper_sd(float(sd), 20) >= 1 for sd in draws])
    assert share == pytest.approx(0.8, abs=0.03)
    plain, careful = examples_needed(0.15, 0.02), examples_needed(0.15, 0.02, seen=50)
    assert plain
    assert careful
    assert careful > plain
    assert smallest_detectable(upper_sd(0.15, 50), careful) <= 0.02
