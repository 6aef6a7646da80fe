"""Grids: declared order, and every mistake in one is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.grid import expand, grid, with_axes
from trainables.config import TrainConfig
from trainables.errors import UserError

BASE = TrainConfig(model="gpt2", data="samsum")


def test_the_first_declared_axis_is_the_slowest() -> None:
    points = expand(grid(BASE, prompt=["v1", "v2"], lora_rank=[8, 16], learning_rate=[5e-4, 2e-4]))
    assert [(point.prompt, point.lora_rank, point.learning_rate) for point in points] == [
        ("v1", 8, 5e-4),
        ("v1", 8, 2e-4),
        ("v1", 16, 5e-4),
        ("v1", 16, 2e-4),
        ("v2", 8, 5e-4),
        ("v2", 8, 2e-4),
        ("v2", 16, 5e-4),
        ("v2", 16, 2e-4),
    ]


def test_what_is_no_axis_stays_as_in_the_base() -> None:
    base = TrainConfig(model="gpt2", data="samsum", lora_alpha=32.0, max_steps=7)
    assert {(point.lora_alpha, point.max_steps) for point in expand(grid(base, lora_rank=[1, 2]))} == {(32.0, 7)}


def test_a_replaced_axis_keeps_its_place_and_a_new_one_comes_last() -> None:
    changed = with_axes(grid(BASE, prompt=["v1"], lora_rank=[8, 16]), {"seed": [1], "prompt": ["v2"]})
    assert list(changed.axes.items()) == [("prompt", ("v2",)), ("lora_rank", (8, 16)), ("seed", (1,))]


def test_a_grid_without_axes_is_its_base() -> None:
    assert expand(grid(BASE)) == [BASE]


def test_values_may_come_from_any_iterable() -> None:
    assert [point.seed for point in expand(grid(BASE, seed=range(3)))] == [0, 1, 2]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"lora_rnk": [8]}, "axis 'lora_rnk' is not a field of TrainConfig; did you mean 'lora_rank'?"),
        ({"lora_rank": [8, 0]}, "lora_rank must be greater than or equal to 1, got 0"),
        ({"lora_rank": 8}, "axis lora_rank must be a list of values, got 8; write lora_rank=[8]"),
        ({"prompt": "v1"}, "axis prompt must be a list of values, got 'v1'"),
        ({"lora_rank": []}, "axis lora_rank must have at least one value"),
        ({"learning_rate": ["2e-4"]}, "got '2e-4'; write learning_rate=2e-4 without quotes"),
        ({"learning_rate": [-2e-4]}, "learning_rate must be greater than 0, got -0.0002"),
        ({"learning_rate": [float("nan")]}, "learning_rate must be a finite number"),
        ({"lora_rank": [8.5]}, "lora_rank must be a valid integer"),
        ({"optimizer": ["adamw"]}, "did you mean 'adamw_torch'?"),
        ({"data": ["a", "b"]}, "data cannot be an axis"),
        ({"prompt_template": ["{source}"]}, "prompt_template cannot be an axis"),
    ],
)
def test_a_wrong_axis_is_named_with_its_value_and_rule(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        grid(BASE, **axes)
    assert message in str(caught.value)


def test_a_combination_is_judged_as_a_whole() -> None:
    with pytest.raises(UserError, match="warmup_steps must be below max_steps=8, got 10"):
        expand(grid(BASE, warmup_steps=[0, 10], max_steps=[8, 32]))
    assert len(expand(grid(BASE, warmup_steps=[0, 10], max_steps=[16, 64]))) == 4
