"""What is said of early stopping where a decaying learning rate makes early losses of different budgets differ."""

from __future__ import annotations

from typing import Any

import pytest
from small_sweep import BASE

from sweep.request.early_losses import early_loss_note
from trainables.config import TrainConfig


def trains(*changes: dict[str, Any]) -> list[TrainConfig]:
    return [TrainConfig(**{**BASE, "max_steps": 32, **one}) for one in changes]


@pytest.mark.parametrize(
    ("changes", "is_search", "said"),
    [
        ([{}], True, "schedule=linear decays to zero at max_steps, so a loss"),
        ([{}, {"schedule": "cosine"}], True, "schedule=cosine and schedule=linear decay to zero"),
        ([{}, {"max_steps": 64}], True, "which is 32 to 64 here"),
        ([{}, {"max_steps": 64}, {"max_steps": 0}], False, "which is 32 to 64 here"),
    ],
)
def test_a_decaying_rate_is_named_with_what_makes_losses_comparable(
    changes: list[dict[str, Any]], is_search: bool, said: str
) -> None:
    note = early_loss_note(trains(*changes), is_search)
    assert note is not None
    assert said in note
    assert note.endswith("schedule=constant makes early losses comparable")


@pytest.mark.parametrize(
    ("changes", "is_search"),
    [
        ([{"schedule": "constant"}, {"schedule": "constant", "max_steps": 64}], True),
        ([{}, {"lora_rank": 4}], False),  # a grid of one budget: equal steps are equal parts of the decay
        ([{"max_steps": 0}], True),
    ],
)
def test_nothing_is_said_where_early_losses_are_comparable(changes: list[dict[str, Any]], is_search: bool) -> None:
    assert early_loss_note(trains(*changes), is_search) is None
