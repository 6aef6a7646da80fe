"""A point of a search and its configuration are one thing: each is found from the other."""

from __future__ import annotations

import json

import pytest

from search_spaces.experiment import Experiment
from search_spaces.points import cells, parameters_of, point_of, representatives
from search_spaces.search import as_json, from_json, log_uniform, ratio, search, uniform, when
from search_spaces.search_changes import with_base
from trainables.config import TrainConfig
from trainables.errors import UserError

BASE = TrainConfig(model="pocket-gpt2", data="pocket-chats")
SPACE = search(
    BASE,
    when(quantization="nf4", optimizer=["adamw_torch", "paged_adamw_8bit"]),
    learning_rate=log_uniform(5e-5, 5e-3),
    lora_rank=[4, 8, 16, 32],
    lora_alpha=ratio("lora_rank", 1, 4),
    lora_dropout=uniform(0, 0.2),
    prompt=["v1", "v2"],
    quantization=["none", "nf4"],
    trials=24,
)


def test_a_configuration_tells_the_point_that_it_was_made_from() -> None:
    point = {
        "learning_rate": 1.235e-4,
        "lora_rank": 8,
        "lora_alpha/lora_rank": 2.346,
        "lora_dropout": 0.1,
        "prompt": "v2",
        "quantization": "nf4",
        "optimizer[quantization=nf4]": "paged_adamw_8bit",
    }
    train = point_of(SPACE, point)
    assert train.lora_alpha == 8 * 2.346
    assert parameters_of(SPACE, train) == point


def test_an_axis_of_other_points_alone_keeps_the_value_of_the_base() -> None:
    point = {"learning_rate": 1e-3, "lora_rank": 8, "lora_alpha/lora_rank": 2, "lora_dropout": 0, "prompt": "v1"}
    train = point_of(SPACE, {**point, "quantization": "none"})
    assert train.optimizer == BASE.optimizer
    assert parameters_of(SPACE, train) == {**point, "quantization": "none"}
    assert parameters_of(SPACE, train.model_copy(update={"optimizer": "paged_adamw_8bit"})) is None


def test_a_configuration_outside_the_space_is_no_point_of_it() -> None:
    train = representatives(SPACE)[0]
    assert parameters_of(SPACE, train) is not None
    for change in ({"learning_rate": 1e-2}, {"max_steps": 8}, {"seed": 43}, {"lora_alpha": 400.0}):
        assert parameters_of(SPACE, train.model_copy(update=change)) is None


def test_a_search_is_the_same_after_json() -> None:
    assert from_json(json.loads(json.dumps(as_json(SPACE)))) == SPACE


def test_a_finite_space_lists_its_cells_each_once() -> None:
    space = search(
        BASE,
        when(quantization="nf4", optimizer=["adamw_torch", "paged_adamw_8bit"]),
        quantization=["none", "nf4"],
        lora_rank=[4, 8],
        trials=4,
    )
    listed = cells(space)
    assert listed is not None
    assert len(listed) == 2 + 2 * 2
    assert cells(SPACE) is None


def test_an_axis_that_is_changed_in_the_frame_is_changed_in_the_search() -> None:
    experiment = Experiment(name="x", description="", search=SPACE)
    axes = {**experiment.grid.axes, "learning_rate": (1e-3, 2e-3), "batch_size": (2, 4)}
    changed = Experiment(
        name="x", description="", grid=type(experiment.grid)(experiment.grid.base, axes), search=SPACE
    ).search
    assert changed is not None
    spreads = {axis.name: axis.spread for axis in changed.axes}
    assert spreads["learning_rate"].holds(2e-3)
    assert not spreads["learning_rate"].holds(1.5e-3)  # type: ignore[union-attr]
    assert spreads["batch_size"].holds(4)
    assert spreads["lora_dropout"] == uniform(0, 0.2)


def test_ratio_of_nothing_is_no_point() -> None:
    space = search(BASE, max_steps=[4, 8], warmup_steps=ratio("max_steps", 0.25, 0.5), trials=4)
    assert parameters_of(space, BASE.model_copy(update={"max_steps": 0})) is None


def test_ratio_is_of_a_field_that_has_a_condition() -> None:
    space = search(
        BASE, when(prompt="v1", lora_rank=[64]), prompt=["v1", "v2"], lora_alpha=ratio("lora_rank", 1, 4), trials=4
    )
    point = {"prompt": "v1", "lora_rank[prompt=v1]": 64, "lora_alpha/lora_rank": 2.0}
    train = point_of(space, point)
    assert train.lora_alpha == 128
    assert parameters_of(space, train) == point


def test_conditions_that_cannot_be_are_refused() -> None:
    switched = when(prompt="v1", schedule=["constant", "linear"])
    with pytest.raises(UserError, match="a condition must be on an axis that all points have, and schedule is not"):
        search(BASE, switched, when(schedule="linear", lora_rank=[4, 8]), prompt=["v1", "v2"], trials=4)
    with pytest.raises(UserError, match="are two axes of lora_rank in the same points"):
        search(BASE, when(prompt="v1", lora_rank=[2]), prompt=["v1", "v2"], lora_rank=[4, 8], trials=4)
    search(BASE, when(prompt="v1", lora_rank=[2]), when(prompt="v2", lora_rank=[4]), prompt=["v1", "v2"], trials=4)
    for of in ("lora_alpha", "warmup_steps"):
        with pytest.raises(UserError, match="which is a ratio itself"):
            search(BASE, lora_alpha=ratio(of, 1, 4), warmup_steps=ratio("max_steps", 0.1, 0.5), trials=4)


def test_condition_that_is_fixed_for_all_points_is_none() -> None:
    first = [{"lora_rank[prompt=v1]": 8}]
    space = search(BASE, when(prompt="v1", lora_rank=[4, 8]), prompt=["v1", "v2"], first=first, trials=4)
    met = with_base(space, {"prompt": "v1"}, 4)
    assert [axis.name for axis in met.axes] == ["lora_rank"]
    assert met.first == ({"lora_rank": 8},)
    assert with_base(space, {"prompt": "v2"}, 4).axes == ()


def test_a_point_to_begin_with_has_what_its_axes_are_there_for() -> None:
    conditional = when(quantization="nf4", optimizer=["adamw_torch", "paged_adamw_8bit"])
    axes = {"quantization": ["none", "nf4"], "lora_rank": [4, 8]}
    optimizer = {"optimizer[quantization=nf4]": "paged_adamw_8bit"}
    space = search(BASE, conditional, trials=4, first=[optimizer], **axes)
    assert space.first == ({**optimizer, "quantization": "nf4"},)
    with pytest.raises(UserError, match="no axis of points with quantization=none"):
        search(BASE, conditional, trials=4, first=[{**optimizer, "quantization": "none"}], **axes)
