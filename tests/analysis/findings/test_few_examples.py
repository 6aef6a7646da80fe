"""What is said of a handful of examples, and of scores that are all the same: no more than they show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated import comparison, systems
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.comparison.comparison import Comparison
from analysis.findings import choice, effects
from analysis.findings.answer import answer
from analysis.findings.baselines import against_baselines
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.findings.winner import Agreement
from analysis.render import figures
from analysis.render.markdown import to_markdown
from analysis.statistics.multiple_testing import ALPHA, fewest_for, pair_test
from trainables.config import EvalConfig

Make = Callable[..., Path]
TWO = EvalConfig(validation_examples=2, test_examples=2)
TINY = EvalConfig(validation_examples=2, test_examples=4)
EIGHT = EvalConfig(validation_examples=8, test_examples=8)


def perfect() -> list:
    return [
        baseline(quality=1.0),
        *(configuration(name, rank=rank, quality=1.0) for name, rank in (("A", 8), ("B", 16))),
    ]


def said(found: Comparison) -> str:
    return " ".join([*conclusions(found), *Findings(found).sentences])


@pytest.mark.parametrize("evaluation", [TWO, EIGHT])
def test_equal_scores_are_no_equivalence_no_interval_and_no_power(make_sweep: Make, evaluation: EvalConfig) -> None:
    found = compare(make_sweep(perfect(), evaluation))
    findings = Findings(found)
    n = evaluation.test_examples
    assert f"A and B, the runner-up, score the same by ROUGE-L on all {n} test examples." in said(found)
    assert f"A, B score the same as the untrained model with the same prompt on all {n} examples." in said(found)
    for word in ("Equivalent", "equivalent", "80% power", "could have been significant", "more than ten million"):
        assert word not in said(found)
    assert "[" not in said(found)
    assert "there is no effect." in said(found)
    roles = {one.role: one.verdict for one in found.differences}
    assert (roles["baseline"], roles["runner-up"]) == ("same", "same")
    assert {one.verdict for one in findings.tests} == {"same"}
    assert "scores the same as zero-shot" in findings.notes["B"]
    rows = [
        line
        for line in to_markdown(findings).splitlines()
        if line.startswith(("| B (runner-up)", "| zero-shot v1 | R"))
    ]
    assert rows
    assert all(line.endswith("| – | – | same |") for line in rows)
    assert "cannot be told apart" not in " ".join(answer(findings))


def test_all_tables_agree_that_four_examples_are_too_few(make_sweep: Make) -> None:
    trials = [baseline(quality=0.0), *grid(**{name: {"quality": 1.0} for name in "EFGH"})[1:]]
    found = compare(make_sweep(trials, TINY))
    findings = Findings(found)
    assert {one.verdict for one in found.differences} <= {"too few", "same"}
    assert {one.verdict for one in findings.tests} <= {"too few", "same"}
    assert findings.effects
    assert not any(one.is_clear for one in findings.effects)
    assert "With 4 examples no effect on ROUGE-L could have held" in said(found)
    assert "hold after" not in said(found)
    assert "it takes 9 that differ for a difference to be significant after correction for 8 configurations" in said(
        found
    )
    assert "| † |" not in to_markdown(findings)


def test_effects_of_which_some_are_attainable_are_stated() -> None:
    draw = np.random.default_rng(3)
    for n, attainable in ((5, False), (40, True)):
        values = systems(draw, 5, n, effects=np.array([0, 0, 0.4, 0.4, 0.8]), sd=0.05)
        one = effects.effects(comparison({"test": values}))
        assert {effect.is_clear for effect in one} == {attainable}


def test_the_fewest_examples_are_those_from_which_holm_can_be_passed() -> None:
    for comparisons, fewest in ((1, 6), (2, 7), (8, 9), (100, 12)):
        assert fewest_for(comparisons) == fewest
        assert comparisons * 2.0 ** (1 - fewest) < ALPHA <= comparisons * 2.0 ** (2 - fewest)


def test_the_first_example_that_allows_a_verdict_is_that_of_the_table_of_tests() -> None:
    draw = np.random.default_rng(0)
    for n, verdict in ((6, "too few"), (7, "better")):
        values = systems(draw, 3, n, effects=np.array([0, 0.5, 0.6]), sd=0.02)
        tests = against_baselines(comparison({"test": values}), ["rougeL"])
        assert [one.verdict for one in tests] == [verdict] * 2


@pytest.mark.parametrize(("count", "is_equivalent"), [(5, False), (6, True)])
def test_equivalence_takes_six_examples_that_differ(count: int, is_equivalent: bool) -> None:
    values = [0.0001 * (-1) ** place for place in range(count)]
    found, same = pair_test(values), pair_test([0.0] * count)
    assert found
    assert same
    assert (found.is_equivalent, same.is_equivalent) == (is_equivalent, False)


def test_no_rank_correlation_and_nobody_else_best_are_said_so(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(), configuration("A", quality=1.0), configuration("B", rank=16, quality=0.1)]))
    unlike = Agreement(found.metric, "eval_loss", math.nan, "A", "B")
    lines = choice.sentences(found, Findings(found).winner, [unlike])
    assert lines[-1].endswith("evaluation loss B (rank correlation not defined).")
    assert any(line.endswith("A is best in 100%.") for line in lines)


@pytest.mark.parametrize(("size", "is_said"), [(9, False), (10, True)])
def test_how_often_and_what_for_less_are_said_from_ten_examples_of_the_choice_on(
    make_sweep: Make, size: int, is_said: bool
) -> None:
    found = compare(make_sweep(grid(), EvalConfig(validation_examples=size, test_examples=20)))
    text = to_markdown(Findings(found))
    for words in ("is best in", "within one standard error of", "How far the choice holds, and what is cheaper"):
        assert (words in text) == is_said, words
    assert ("The choice was made on 9 validation examples" in text) != is_said


@pytest.mark.parametrize(
    ("correction", "level"),
    [
        ("holm", "(80% power at 5% / 8, Holm's first step)"),
        ("maxt", "(80% power at 5% / 8; max-T needs no more)"),
        ("bh", "(80% power at 5% / 8; Benjamini-Hochberg needs no more)"),
    ],
)
def test_the_level_of_the_power_is_named(make_sweep: Make, correction: str, level: str) -> None:
    quality = {name: {"quality": 0.12} for name in "ABCDEFGH"}
    found = replace(compare(make_sweep(grid(**quality))), correction=correction)
    assert level in said(found)


@pytest.mark.parametrize(("evaluation", "is_drawn"), [(TINY, False), (EIGHT, True)])
def test_figures_draw_an_interval_where_the_tables_have_one(
    make_sweep: Make, evaluation: EvalConfig, is_drawn: bool
) -> None:
    trials = [configuration(name, rank=rank, quality=rank / 20) for name, rank in zip("ABC", (4, 8, 16), strict=True)]
    found = compare(make_sweep([baseline(), *trials], evaluation))
    findings = Findings(found)
    drawn = [one for one in (figures.forest_figure(findings), *figures.effect_figures(findings)) if one]
    assert len(drawn) == 3
    assert all(("There are no intervals" in one.about) != is_drawn for one in drawn)
    assert ("95% interval " in drawn[-1].about) == is_drawn


def test_one_example_is_no_plural_and_has_no_infinite_interval(make_sweep: Make) -> None:
    trials = [configuration(name, rank=rank, quality=rank / 20) for name, rank in zip("ABC", (4, 8, 16), strict=True)]
    found = compare(make_sweep([baseline(), *trials], EvalConfig(validation_examples=1, test_examples=1)))
    findings = Findings(found)
    assert answer(findings)[0].endswith(" on 1 test example.")
    assert "inf" not in figures.effect_figures(findings)[-1].about
