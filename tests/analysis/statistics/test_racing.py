"""Races of configurations, against plain tests of scipy and what a race must keep."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.racing import RaceRules, auto_margin, looks, race, settles_from


def made(gaps: list[float], examples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return scores of which the first is the best by these gaps; paired differences have an SD of 0.146."""
    draw = np.random.default_rng(seed)
    item = draw.normal(0.4, 0.14, examples)
    noise = draw.normal(0, 0.103, (len(gaps) + 1, examples))
    return {name: item + one - gap for name, one, gap in zip("ABCDEFGH", noise, [0.0, *gaps], strict=False)}


@pytest.mark.parametrize(
    ("start", "most", "sizes"),
    [
        (16, 800, (16, 32, 64, 96, 128, 192, 256, 384, 512, 656, 800)),
        (64, 256, (64, 96, 128, 192, 256)),
        (16, 520, (16, 32, 64, 96, 128, 192, 256, 384, 520)),
        (64, 64, (64,)),
        (16, 10, (10,)),
    ],
)
def test_sizes_grow_up_to_all_examples_and_leave_no_short_step(start: int, most: int, sizes: tuple[int, ...]) -> None:
    assert looks(start, most) == sizes


def test_one_look_is_the_plain_paired_t_test() -> None:
    scores = made([0.02, 0.06], 200)
    found = race(scores, RaceRules((200,), margin=0.03))
    for one in found.standings[1:]:
        differences = scores["A"] - scores[one.name]
        low = stats.ttest_1samp(differences, 0, alternative="greater").confidence_interval(1 - 0.05 / 2).low
        assert one.difference == pytest.approx(differences.mean(), abs=1e-12)
        assert -one.at_most == pytest.approx(low, abs=1e-9)
        assert (one.state == "worse") == (stats.ttest_1samp(differences, 0, alternative="greater").pvalue < 0.05 / 2)


def test_equivalence_is_two_one_sided_t_tests() -> None:
    scores = made([0.0], 800)
    for margin in np.linspace(0.002, 0.03, 29):
        found = race(scores, RaceRules((800,), margin=float(margin)))
        best, other = (scores[one.name] for one in sorted(found.standings, key=lambda one: one.state != "best"))
        above = stats.ttest_1samp(best - other, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(best - other, margin, alternative="less").pvalue
        state = next(one.state for one in found.standings if one.state != "best")
        assert (state == "equivalent") == (max(above, below) < 0.05), margin


def test_poor_ones_leave_early_and_the_race_ends_separated() -> None:
    found = race(made([0.3, 0.3, 0.1], 800), RaceRules(looks(16, 800), margin=0.01))
    assert (found.verdict, found.best) == ("separated", "A")
    assert found.next_examples == 0
    seen = {one.name: one.examples for one in found.standings}
    assert seen["B"] < seen["D"] <= seen["A"] < 800


def test_equals_end_equivalent_within_the_margin_of_the_examples() -> None:
    found = race(made([0.0] * 7, 800), RaceRules(looks(16, 800)))
    assert found.verdict == "equivalent"
    assert found.margin == pytest.approx(settles_from(800, 0.146, 8), rel=0.25)
    assert all(one.at_most <= found.margin for one in found.standings)


def test_a_margin_too_small_for_the_examples_is_used_up() -> None:
    found = race(made([0.0] * 7, 256), RaceRules(looks(16, 256), margin=0.001))
    assert found.verdict == "used up"
    assert found.going == ()
    assert found.looks[-1].settled > 0.001


def test_a_race_that_is_killed_continues_as_if_it_had_not_been() -> None:
    whole = made([0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1], 800)
    rules = RaceRules(looks(16, 800))
    known = {name: one[:0] for name, one in whole.items()}
    found = race(known, rules)
    assert (found.best, found.going, found.next_examples) == (None, tuple("ABCDEFGH"), 16)
    while found.verdict == "going":
        known |= {name: whole[name][: found.next_examples] for name in found.going}
        found = race(known, rules)
    straight = race(whole, rules)
    assert straight == found
    assert json.loads(json.dumps(found.as_json())) == json.loads(json.dumps(straight.as_json()))
    assert sum(one.examples for one in found.standings) < 0.7 * 8 * 800


def test_all_that_is_known_against_the_best_holds_whoever_led_before() -> None:
    for seed in range(40):
        scores = made([0.0, 0.0, 0.004, 0.008, 0.01, 0.01, 0.01], 800, seed)
        found = race(scores, RaceRules(looks(16, 800)))
        if found.verdict != "used up":
            assert all(one.at_most <= found.margin for one in found.standings)


def test_examples_that_are_all_alike_say_nothing_of_others() -> None:
    scores = made([0.0, 0.5], 32)
    scores["B"] = scores["A"].copy()
    found = race(scores, RaceRules((16, 32), margin=0.01))
    assert found.verdict == "used up"
    assert next(one for one in found.standings if one.name == "B").at_most > 0.01


def test_losses_are_raced_with_their_sign_turned() -> None:
    losses = {name: -one for name, one in made([0.3, 0.2], 128).items()}
    found = race({name: -one for name, one in losses.items()}, RaceRules((64, 128), margin=0.01))
    assert (found.verdict, found.best) == ("separated", "A")


def test_one_configuration_is_the_best_there_is() -> None:
    found = race({"A": [0.5, 0.4, 0.3]}, RaceRules((3,)))
    assert (found.verdict, found.best) == ("separated", "A")


@pytest.mark.parametrize(
    ("sizes", "margin", "alpha"), [((), None, 0.05), ((32, 16), None, 0.05), ((16,), 0.0, 0.05), ((16,), None, 1.0)]
)
def test_rules_that_cannot_be_are_refused(sizes, margin, alpha) -> None:
    with pytest.raises(ValueError, match="must"):
        RaceRules(sizes, margin, alpha)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="no finite number"):
        race({"A": [0.5, float("nan")], "B": [0.5, 0.4]}, RaceRules((2,)))


def test_the_margin_that_examples_settle_shrinks_with_their_root() -> None:
    assert 0.0137 < settles_from(800, 0.14, 8) < 0.0139
    assert settles_from(200, 0.14, 8) == pytest.approx(2 * settles_from(800, 0.14, 8), rel=0.06)
    assert auto_margin(0.05, RaceRules(looks(16, 800)), 8) == 0.01


def test_a_few_examples_on_which_two_are_equal_settle_nothing() -> None:
    scores = np.random.default_rng(5).uniform(0, 0.6, 800)
    few, many = (RaceRules(looks(16, most), margin=0.01) for most in (16, 800))
    assert race({"A": scores[:16], "B": scores[:16]}, few).verdict == "used up"
    assert race({"A": scores, "B": scores}, many).verdict == "equivalent"
