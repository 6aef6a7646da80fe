"""A point of a search and its configuration are one thing: each is found from the other."""

from __future__ import annotations

import json

from search_spaces.experiment import Experiment
from search_spaces.points import cells, parameters_of, point_of, representatives
from search_spaces.search import as_json, from_json, log_uniform, ratio, search, uniform, when
from trainables.config import TrainConfig

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
