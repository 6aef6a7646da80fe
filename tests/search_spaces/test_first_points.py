"""Points that a search begins with."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.search import integer, log_uniform, ratio, search
from trainables.config import TrainConfig
from trainables.errors import UserError


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"learning_rate": 1.0}, "first: learning_rate=1.0 is not a number from 0.0001 to 0.01"),
        ({"lora_rank": 5}, "first: lora_rank=5 is not one of 4, 8"),
        ({"max_steps": 9}, "first: max_steps=9 is not a whole number from 1 to 8"),
        ({"lora_alpha/lora_rank": 9}, "first: lora_alpha/lora_rank=9 is not 1 to 4 times lora_rank"),
    ],
)
def test_a_first_point_outside_its_axes_is_refused(first: dict[str, Any], said: str) -> None:
    base = TrainConfig(model="pocket-gpt2", data="pocket-chats")
    axes: dict[str, Any] = {"learning_rate": log_uniform(1e-4, 1e-2), "lora_rank": [4, 8], "max_steps": integer(1, 8)}
    with pytest.raises(UserError) as refused:
        search(base, lora_alpha=ratio("lora_rank", 1, 4), trials=4, first=[first], **axes)
    assert str(refused.value) == said
