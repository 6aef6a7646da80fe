"""Mistakes that settings look like."""

from __future__ import annotations

from typing import get_args

from trainables.config import Optimizer
from trainables.sanity_checks.settings import USUAL_RATES


def test_every_optimizer_has_its_usual_rates() -> None:
    assert set(USUAL_RATES) == set(get_args(Optimizer))
