"""What is said of a race: settled or not, within what margin, and never more than was compared."""

from __future__ import annotations

import numpy as np

from analysis.findings.race_sentences import race_sentences
from analysis.records.settled import SettledRace
from analysis.statistics.race_rules import RaceRules
from analysis.statistics.racing import race

LOOKS = (16, 32, 64)
SHARED = np.random.default_rng(42).uniform(0.2, 0.6, LOOKS[-1])


def said(scores: dict[str, np.ndarray], margin: float = 0.02) -> str:
    found = race(scores, RaceRules(LOOKS, margin))
    settled = SettledRace(found, "rougeL", LOOKS[-1], is_over=found.verdict != "going", texts=80, texts_of_all=160)
    verdict, costs = race_sentences(settled)
    assert costs.startswith("The race wrote 80 texts, 50% of the 160 that all trials on all examples would have")
    return verdict


def noise(seed: int, spread: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, LOOKS[-1])


def test_one_configuration_is_better_than_nobody() -> None:
    assert said({"A": SHARED}) == "Nothing to settle: A is the only configuration that could be evaluated."


def test_configurations_that_are_alike_are_as_good() -> None:
    verdict = said({"A": SHARED, "B": SHARED.copy()})
    assert verdict.startswith("Settled within 2.00 points: no other is better than A by more in ROUGE-L")
    assert verdict.endswith("; B is as good within that.")


def test_a_clear_winner_is_better_than_every_other() -> None:
    verdict = said({"A": SHARED - 0.2 + noise(1, 0.02), "B": SHARED})
    assert verdict.startswith("Settled: B is better than every other configuration by ROUGE-L, on up to 16 of 64")
    assert "error of 5%" in verdict


def test_what_the_examples_cannot_settle_is_not_settled() -> None:
    verdict = said({"A": SHARED + noise(1, 0.2), "B": SHARED + noise(2, 0.2)}, margin=0.01)
    assert verdict.startswith("Not settled: all 64 validation examples are used, and ")
    assert verdict.endswith("by more than 1.00 points.")


def test_a_race_that_goes_on_says_so() -> None:
    scores = {"A": (SHARED + noise(1, 0.2))[:16], "B": (SHARED + noise(2, 0.2))[:16]}
    assert said(scores, margin=0.01).startswith("The race is not over: ")


def test_without_a_look_there_is_nothing_to_say() -> None:
    going = race({"A": SHARED[:8]}, RaceRules(LOOKS))
    assert race_sentences(None) == race_sentences(SettledRace(going, "rougeL", 64, False, 0, 0)) == []
