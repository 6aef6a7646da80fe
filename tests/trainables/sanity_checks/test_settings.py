"""Mistakes that settings look like."""

from __future__ import annotations

from typing import get_args

from trainables.config import EvalConfig, Optimizer, TrainConfig
from trainables.sanity_checks.settings import USUAL_RATES, find


def test_every_optimizer_has_its_usual_rates() -> None:
    assert set(USUAL_RATES) == set(get_args(Optimizer))


def test_the_ends_of_a_search_are_not_counted_as_configurations() -> None:
    trains = [TrainConfig(model="gpt2", data="samsum", learning_rate=rate) for rate in (2e-4, 2e-2)]
    assert "(1 of 2 configurations)" in find(trains, EvalConfig(), {})[0]
    assert "(some points that may be drawn)" in find(trains, EvalConfig(), {}, is_search=True)[0]
    assert "(all points)" in find(trains[1:], EvalConfig(), {}, is_search=True)[0]
