"""Effects of a grid against regression and analysis of variance, Lenth's published example, and searches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats as scipy_stats
from statsmodels.stats.anova import anova_lm
from sweeps_on_disk import SMALL, baseline, configuration, grid

from analysis.compare import compare
from analysis.findings import effects
from analysis.findings.effect_sentences import caution, effect_sentences
from analysis.findings.findings import Findings
from analysis.findings.searches.points import is_search
from analysis.render.markdown import to_markdown
from analysis.statistics.factorial import factor_of, half_normal_quantiles, lenth, shares, terms
from trainables.config import eval_id
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    return {
        one.config()["name"]: np.array([row["scores"]["rougeL"] for row in one.predictions(eval_id(SMALL), "test")])
        for one in SweepFolder(folder).records()
    }


def test_contrasts_of_a_grid_are_differences_of_means(make_sweep: Make) -> None:
    folder = make_sweep()
    found = effects.effects(compare(folder))
    scores = scores_of(folder)
    signs = {  # prompt v1, v2; rank 8, 16; rate 2e-4, 5e-4 (ascending)
        name: (prompt, rank, rate)
        for name, (prompt, rank, rate) in zip("ABCDEFGH", itertools.product((-1, 1), (-1, 1), (1, -1)), strict=True)
    }
    chosen = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert [one.term for one in found[:3]] == ["prompt", "lora_rank", "learning_rate"]
    assert len(found) == 7
    for one, factors in zip(found, chosen, strict=True):
        high = [scores[name] for name, sign in signs.items() if math.prod(sign[index] for index in factors) > 0]
        low = [scores[name] for name, sign in signs.items() if math.prod(sign[index] for index in factors) < 0]
        contrast = np.mean(high, axis=0) - np.mean(low, axis=0)
        interval = scipy_stats.ttest_1samp(contrast, 0).confidence_interval()
        assert one.effect == pytest.approx(contrast.mean())
        assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
    assert [one.p_holm >= one.p for one in found] == [True] * 7


def test_shares_are_those_of_an_analysis_of_variance() -> None:
    factors = [factor_of("a", [1, 2, 4]), factor_of("b", ["x", "y"]), factor_of("c", [0.1, 0.2])]
    points = list(itertools.product(*(factor.levels for factor in factors)))
    values = np.random.default_rng(0).random(len(points))
    found = shares(factors, values)
    data = pd.DataFrame(points, columns=["a", "b", "c"]).assign(y=values)
    # Without the three-way term, whose sum of squares is then the residual.
    table = anova_lm(smf.ols("y ~ (C(a) + C(b) + C(c)) ** 2", data).fit())["sum_sq"]
    names = {"C(a)": ("a",), "C(b)": ("b",), "C(c)": ("c",)}
    names |= {"C(a):C(b)": ("a", "b"), "C(a):C(c)": ("a", "c"), "C(b):C(c)": ("b", "c"), "Residual": ("a", "b", "c")}
    for name, key in names.items():
        assert found[key] == pytest.approx(table[name] / table.sum())
    assert sum(found.values()) == pytest.approx(1)
    assert all(math.isnan(share) for share in shares(factors, np.full(12, 0.3)).values())


def test_ordered_levels_give_a_line_and_unordered_ones_a_mean_each() -> None:
    factors = [factor_of("rank", [16, 4, 8]), factor_of("prompt", ["v1", "v2", "v3"])]
    assert factors[0].levels == (4, 8, 16)
    cells = np.array([10.0 * line + bonus for line in (0, 1, 2) for bonus in (0, 5, 7)])
    values = {(term.factors, term.change): float(term.weights @ cells) for term in terms(factors)}
    assert values[("rank",), "4 → 16"] == pytest.approx(20)
    assert values[("prompt",), "v1 → v2"] == pytest.approx(5)
    assert values[("prompt",), "v1 → v3"] == pytest.approx(7)
    assert [value for (names, _), value in values.items() if len(names) == 2] == pytest.approx([0, 0])


def test_an_interaction_is_half_the_difference_of_the_differences() -> None:
    factors = [factor_of("a", ["x", "y"]), factor_of("b", ["x", "y"])]
    weights = {term.factors: term.weights for term in terms(factors)}
    cells = np.array([0.0, 1.0, 2.0, 7.0])  # b brings 1 under a = x, 5 under a = y
    assert weights["a", "b"] @ cells == pytest.approx(2)
    assert weights["b",] @ cells == pytest.approx(3)


def test_seeds_give_an_interval_over_runs(make_sweep: Make) -> None:
    trials = [baseline()]
    for seed in (42, 43, 44):
        trials += [
            configuration("A", rank=8, seed=seed, quality=0.5),
            configuration("B", rank=16, seed=seed, quality=0.6),
        ]
    found = effects.effects(compare(make_sweep(trials)))
    table = compare(make_sweep(trials)).table
    means = {name: [row.mean("test", "rougeL") for row in table.rows if row.name == name] for name in "AB"}
    oracle = scipy_stats.ttest_ind(means["B"], means["A"])  # two levels: pooled variance within cells
    interval = oracle.confidence_interval()
    assert len(found) == 1
    assert (found[0].run_low, found[0].run_high) == pytest.approx((interval.low, interval.high))
    assert found[0].p_runs == pytest.approx(oracle.pvalue)
    assert caution(found) is None
    assert effects.half_normal(compare(make_sweep(trials))) == ()


def test_a_planted_effect_is_found_and_no_other_is_claimed(make_sweep: Make) -> None:
    better = {name: {"quality": 0.75} for name in "EFGH"}
    same = {name: {"quality": 0.35} for name in "ABCD"}
    found = compare(make_sweep(grid(**better, **same)))
    known = effects.effects(found)
    assert [one.term for one in known if one.is_clear] == ["prompt"]
    said = effect_sentences(found, known, ())[0]
    assert said.startswith("Effects on ROUGE-L that hold after Holm's correction for 7 effects: prompt (v1 → v2) +")
    assert effects.effect_shares(found)[0].factors == ("prompt",)
    points = effects.half_normal(found)
    assert points[-1].term == "prompt"
    assert points[-1].size > points[-1].margin


def test_a_grid_with_a_hole_states_no_effect_and_says_why(make_sweep: Make) -> None:
    found = compare(make_sweep(grid(C={"state": "failed", "cause": "no"})))
    assert (effects.effects(found), effects.effect_shares(found), effects.trends(found)) == ((), (), ())
    assert effect_sentences(found, (), ()) == [
        "Effects need every combination of the axes, 8; 7 have finished, so none is stated."
    ]
    assert not is_search(found)


def test_the_trend_along_a_rank_is_a_slope_per_doubling(make_sweep: Make) -> None:
    ranks, qualities = (2, 4, 8, 16), (0.2, 0.4, 0.6, 0.8)
    trials = [
        configuration(name, rank=rank, quality=quality)
        for name, rank, quality in zip("ABCD", ranks, qualities, strict=True)
    ]
    folder = make_sweep([baseline(), *trials])
    found = effects.trends(compare(folder))
    scores = scores_of(folder)
    slopes = [np.polyfit([1, 2, 3, 4], [scores[name][index] for name in "ABCD"], 1)[0] for index in range(20)]
    interval = scipy_stats.ttest_1samp(slopes, 0).confidence_interval()
    assert [(one.axis, one.is_log) for one in found] == [("lora_rank", True)]
    assert found[0].slope == pytest.approx(np.mean(slopes))
    assert (found[0].low, found[0].high) == pytest.approx((interval.low, interval.high))
    assert [one.level for one in found[0].levels] == [2, 4, 8, 16]
    assert found[0].is_monotone


def test_lenths_error_is_that_of_his_definition() -> None:
    values = [0.1, -0.2, 0.3, -0.1, 0.2, 8.0, -0.3]
    found = lenth(values)
    assert found
    first = 1.5 * 0.2  # the median size is 0.2
    pse = 1.5 * np.median([0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    assert 2.5 * first < 8.0
    assert found.pse == pytest.approx(pse)
    assert found.margin == pytest.approx(scipy_stats.t.ppf(0.975, 7 / 3) * pse)
    assert found.simultaneous == pytest.approx(scipy_stats.t.ppf((1 + 0.95 ** (1 / 7)) / 2, 7 / 3) * pse)
    assert lenth([1, 2, 3]) is None
    assert half_normal_quantiles(3) == pytest.approx(scipy_stats.halfnorm.ppf([1 / 6, 3 / 6, 5 / 6]))


@pytest.mark.parametrize("ranks", [(4, 8, 16), (4, 8)])
def test_losses_over_other_tokens_have_no_effects_and_the_report_says_so(make_sweep: Make, ranks: tuple) -> None:
    points = [(model, rank) for model in ("pocket-gpt2", "another") for rank in ranks]
    trials = [
        configuration(name, rank=rank, train={"model": model})
        for name, (model, rank) in zip("ABCDEF", points, strict=False)
    ]
    folder = make_sweep([baseline(), *trials])
    for record in SweepFolder(folder).records():
        if record.config()["train"]["model"] != "another":
            continue
        summary = record.summary(eval_id(SMALL))
        assert summary
        rows = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
        for row in (*rows["validation"], *rows["test"]):
            row["nll_tokens"] += 3
        record.write_evaluation(SMALL, rows, summary)
    found = compare(folder, "eval_loss")
    findings = Findings(found)
    assert (effects.effects(found), effects.trends(found), effects.half_normal(found)) == ((), (), ())
    assert effects.effect_shares(found) == ()
    assert "Losses over other tokens cannot be compared, so no effect is stated." in findings.sentences
    assert "∞" not in to_markdown(findings)
    assert effects.effects(compare(folder))
