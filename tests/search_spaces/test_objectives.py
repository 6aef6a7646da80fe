"""Objectives of a search: directions, and what cannot be one."""

from __future__ import annotations

import pytest

from search_spaces.experiment import Experiment
from search_spaces.objectives import Objective, objectives_of
from search_spaces.search import log_uniform, search
from trainables.config import EvalConfig, TrainConfig
from trainables.errors import UserError

EVALUATION = EvalConfig()


def test_the_metric_alone_decides_in_its_own_direction() -> None:
    assert objectives_of((), "rougeL", EVALUATION) == (Objective("rougeL"),)
    assert objectives_of((), "eval_loss", EVALUATION) == (Objective("eval_loss", is_small=True),)


def test_costs_are_to_be_small() -> None:
    found = objectives_of(("rougeL", "-trainable_parameters", "-runtime_s", "-adapter_bytes"), "rougeL", EVALUATION)
    assert [one.direction for one in found] == ["maximize", "minimize", "minimize", "minimize"]
    assert [one.label for one in found] == ["rougeL", "-trainable_parameters", "-runtime_s", "-adapter_bytes"]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (("rougeL", "trainable_parameters"), "objective 'trainable_parameters' is to be small: write a minus before"),
        (("rougeL", "eval_loss"), "write a minus before it, '-eval_loss'"),
        (("-rougeL", "-runtime_s"), "objective '-rougeL' is to be large: write no minus, 'rougeL'"),
        (("rougeL", "-runtme_s"), "did you mean '-runtime_s'?"),
        (("chrf", "-runtime_s"), "objective 'chrf' needs it among the evaluation's metrics"),
        (("rougeL",), "objectives must be two or more, got 'rougeL' alone"),
        (("rougeL", "-runtime_s", "rougeL"), "rougeL is named twice"),
    ],
)
def test_an_experiment_refuses_what_is_no_objective(declared: tuple[str, ...], said: str) -> None:
    base = TrainConfig(model="pocket-gpt2", data="pocket-chats")
    space = search(base, learning_rate=log_uniform(1e-3, 1e-2), trials=4, objectives=declared)
    with pytest.raises(UserError) as refused:
        Experiment(name="x", description="", search=space)
    assert said in str(refused.value)
