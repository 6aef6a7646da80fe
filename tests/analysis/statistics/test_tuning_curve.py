"""The expected best of n draws: published values, all subsets, and how often its interval holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from analysis.statistics.tuning_curve import expected_best

PUBLISHED = [0.4772947, 0.4820946, 0.4929634, 0.5064014, 0.5178574, 0.5186009, 0.5194320, 0.5283852]


def test_the_expected_best_of_published_scores_is_the_published_one() -> None:
    found = expected_best(PUBLISHED[::-1]).best
    assert found[[0, 1, 3, 7]] == pytest.approx([0.5053787, 0.5166767, 0.5235137, 0.5283852], abs=5e-8)
    every = [np.mean([max(one) for one in itertools.combinations(PUBLISHED, n)]) for n in range(1, 9)]
    assert found == pytest.approx(every)
    assert len(expected_best(PUBLISHED, most=3).best) == 3


def test_the_interval_of_one_draw_is_that_of_the_mean() -> None:
    from scipy.stats import ttest_1samp

    curve = expected_best(PUBLISHED)
    interval = ttest_1samp(PUBLISHED, 0).confidence_interval()
    assert (curve.low[0], curve.high[0]) == pytest.approx((interval.low, interval.high))
    assert curve.stated == 2  # a quarter of eight
    assert expected_best(PUBLISHED[:3]).stated == 0


def test_the_interval_holds_about_as_often_as_it_says() -> None:
    """The expected best of n uniform draws is n / (n + 1)."""
    draw = np.random.default_rng(1)
    truth = np.arange(1, 7) / np.arange(2, 8)
    curves = [expected_best(draw.uniform(size=24), most=6) for _ in range(200)]
    held = np.mean([(one.low <= truth) & (truth <= one.high) for one in curves], axis=0)
    assert (held > 0.85).all()
    assert held[0] > 0.9


def test_without_a_score_there_is_no_curve() -> None:
    curve = expected_best([])
    assert (len(curve.best), curve.stated) == (0, 0)
