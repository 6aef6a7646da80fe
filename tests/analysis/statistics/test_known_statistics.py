"""Statistics are those that scipy and statsmodels have given."""

from __future__ import annotations

import pytest
from known_answers import known_answers

from analysis.rating.annotate import wilson
from analysis.statistics.multiple_testing import benjamini_hochberg, holm, pair_test
from analysis.statistics.winner_curse import spearman

ANSWERS = known_answers("statistics")


@pytest.mark.parametrize("name", ANSWERS["pairs"])
def test_a_pair_of_systems_is_tested_as_by_the_libraries(name: str) -> None:
    answer = ANSWERS["pairs"][name]
    found = pair_test(answer["differences"], margin=ANSWERS["margin"])
    assert found is not None
    assert found.paired.p == pytest.approx(answer["p"], rel=1e-7)
    assert (found.paired.low, found.paired.high) == pytest.approx((answer["low"], answer["high"]), rel=1e-7)
    assert found.p_equivalent == pytest.approx(answer["p_equivalent"], rel=1e-7)
    # Up to twelve examples every sign is counted; of more they are drawn, here and there by other generators.
    tolerance = {"rel": 1e-7} if len(answer["differences"]) <= 12 else {"abs": 0.02}
    assert found.p_flip == pytest.approx(answer["p_flip"], **tolerance)


def test_several_tests_are_corrected_as_by_the_libraries() -> None:
    assert holm(ANSWERS["p"]) == pytest.approx(ANSWERS["holm"], rel=1e-8)
    assert benjamini_hochberg(ANSWERS["p"]) == pytest.approx(ANSWERS["benjamini_hochberg"], rel=1e-8)


def test_the_interval_of_a_share_is_that_of_the_libraries() -> None:
    for answer in ANSWERS["wilson"]:
        low, high = wilson(answer["count"] / answer["of"], answer["of"])
        assert (low, high) == pytest.approx(answer["interval"], abs=1e-9)


def test_the_correlation_of_ranks_with_ties_is_that_of_the_libraries() -> None:
    assert spearman(*ANSWERS["ranked"]) == pytest.approx(ANSWERS["spearman"], abs=1e-9)
