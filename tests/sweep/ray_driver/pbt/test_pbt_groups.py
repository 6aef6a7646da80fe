"""Who may take over whose weights, when, and what is refused; and how a trial leaves its slot for that."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import Scripted, begin, jobs
from small_sweep import BASE
from waiting import wait_until

from search_spaces.experiment import load_experiment
from sweep.engine_actor.slots import Slots
from sweep.monitor.engine_status import TrialEnd
from sweep.ray_driver.pbt.groups import check_population, every_steps, mutated, populations
from sweep.ray_driver.pbt.tune_trial import change_of
from trainables.config import TrainConfig
from trainables.errors import UserError
from trainables.records.journal import append as append_line
from trainables.records.lineage import Change, is_pinned
from trainables.records.record import TrialRecord

RATES = (1e-3, 2e-3, 3e-3, 4e-3)


def train(**fields: Any) -> TrainConfig:
    return TrainConfig(**{**BASE, **fields})


def named(trains: list[TrainConfig]) -> dict[str, TrainConfig]:
    return {chr(ord("A") + place): one for place, one in enumerate(trains)}


def test_the_grid_has_a_population_per_rank_whatever_the_prompt() -> None:
    found = populations(named(load_experiment("grid_2x2x2").configurations()))
    assert found == [tuple("ABEF"), tuple("CDGH")]


@pytest.mark.parametrize(
    "fields",
    [
        *({"lora_rank": 4}, {"lora_alpha": 3.0}, {"target_modules": ("c_proj",)}, {"seed": 1}, {"max_steps": 64}),
        *({"optimizer": "paged_adamw_32bit"}, {"keep_checkpoint": "best"}, {"max_steps": 0}, {"eval_every_steps": 0}),
    ],
)
def test_a_trial_whose_tensors_mean_something_else_is_in_no_population(fields: dict[str, Any]) -> None:
    trains = [train(learning_rate=rate) for rate in RATES]
    assert populations(named([*trains, train(**fields)])) == [tuple("ABCD")]


@pytest.mark.parametrize(
    ("max_steps", "eval_every", "every"),
    [(32, 4, 4), (320, 4, 40), (100, 10, 20), (48, 4, 8), (8, 4, 4), (4, 4, None), (32, 0, None), (2, 4, None)],
)
def test_trials_are_judged_each_eighth_of_their_steps_in_whole_evaluations(
    max_steps: int, eval_every: int, every: int | None
) -> None:
    assert every_steps(train(max_steps=max_steps, eval_every_steps=eval_every)) == every


def test_the_rate_moves_always_and_dropout_and_decay_where_they_are_axes() -> None:
    assert mutated([train(), train()]) == {"learning_rate": [2e-4]}
    found = mutated([train(lora_dropout=0.1), train(lora_dropout=0.0, learning_rate=1e-3)])
    assert found == {"learning_rate": [2e-4, 1e-3], "lora_dropout": [0.0, 0.1]}


FOUR = [train(learning_rate=rate) for rate in RATES]


@pytest.mark.parametrize(
    ("trains", "engine", "most", "words"),
    [
        (FOUR, "solo", None, ["side by side", "--engine packed"]),
        (FOUR, "packed", 3, ["--max-concurrent must be at least 4", "got 3"]),
        (FOUR[:3], "packed", None, ["at least 4 configurations", "has 3"]),
        ([*FOUR[:2], *(train(lora_rank=4, seed=seed) for seed in (1, 2))], "packed", None, ["lora_rank, seed has 2"]),
        ([train(eval_every_steps=0, seed=seed) for seed in range(4)], "packed", None, ["eval_every_steps", "got 0"]),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    trains: list[TrainConfig], engine: str, most: int | None, words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check_population(trains, 1, engine, {"--max-concurrent": most})
    assert [word for word in words if word not in str(caught.value)] == []


def test_every_seed_needs_a_place_of_its_own() -> None:
    check_population(FOUR, 1, "packed", {"--max-concurrent": 4})
    with pytest.raises(UserError, match="at least 8"):
        check_population(FOUR, 2, "packed", {"--max-concurrent": 4})


def test_configurations_in_no_population_are_told() -> None:
    assert check_population(FOUR, 1, "packed", {}) is None
    told = check_population([*FOUR, train(lora_rank=4)], 1, "packed", {})
    assert told is not None
    assert told.startswith("1 of 5 configurations have fewer than 3 others")


def test_a_pointer_to_another_trial_is_a_change_and_one_to_itself_is_not() -> None:
    config = {"trial": "B", "engines": ["e"], "changes": 2, "pointer_every": 4, "learning_rate": 0.1}
    assert change_of(config, None) is None
    assert change_of(config, {"trial": "B", "step": 8}) is None
    assert change_of(config, {"trial": "A", "step": 8}) == Change(2, "A", 8, {"learning_rate": 0.1})


def test_a_trial_that_is_to_take_over_another_leaves_unfinished_and_may_come_again(tmp_path: Path) -> None:
    slots = Slots(Scripted(), jobs(tmp_path, "a"), lockstep=True)
    slots.open()
    begin(slots, "a")
    slots.engine.leave.release(1)  # type: ignore[attr-defined]
    wait_until(lambda: bool(slots.runs["a"].reports))
    assert slots.leave("a")
    wait_until(lambda: not slots.leave("a"))
    assert slots.runs["a"].end == TrialEnd("interrupted")
    assert slots.paused is None
    begin(slots, "a")
    slots.leave("a")
    wait_until(lambda: not slots.leave("a"))
    assert not slots.leave("b")


def test_ray_is_told_only_of_steps_with_a_pointer_and_a_trial_keeps_its_name(tmp_path: Path) -> None:
    from ray.tune.experiment import Trial

    from sweep.ray_driver.pbt.scheduler import Population

    members = {name: train(learning_rate=rate) for name, rate in zip("ABCD", RATES, strict=True)}
    records = {name: TrialRecord(tmp_path / name) for name in members}
    population = Population(members, records)
    poor, donor = (Trial("follow", stub=True, config={"trial": name, "engines": []}) for name in "AC")
    for trial in (poor, donor):
        population.on_trial_add(SimpleNamespace(search_alg=None), trial)
    assert poor.config == {"trial": "A", "engines": [], "learning_rate": 1e-3, "changes": 0, "pointer_every": 4}
    for step in (2, 4, 6, 8, 32):
        population.judge(None, donor, {"step": step, "eval_loss": 1.0})
    assert population._trial_state[donor].last_train_time == 8
    assert [path.name for path in records["C"].checkpoint_folder.iterdir()] == ["step-00008.pin"]
    drawn = [population._get_new_config(poor, donor)[0] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert (drawn[0]["trial"], drawn[0]["changes"]) == ("A", 1)
    assert is_pinned(records["C"].checkpoint_path(8))
    assert sorted(path.name for path in records["C"].checkpoint_folder.iterdir())[1] == "step-00008.pin-A"


def test_a_trial_is_added_with_what_its_lineage_has_come_to(tmp_path: Path) -> None:
    from ray.tune.experiment import Trial

    from sweep.ray_driver.pbt.scheduler import Population

    records = {name: TrialRecord(tmp_path / name) for name in "AB"}
    records["A"].folder.mkdir()
    append_line(records["A"].lineage_path, {"number": 3, "new": {"learning_rate": 7e-3}})
    population = Population({"A": FOUR[0], "B": FOUR[1]}, records)
    trial = Trial("follow", stub=True, config={"trial": "A", "engines": []})
    population.on_trial_add(SimpleNamespace(search_alg=None), trial)
    assert (trial.config["learning_rate"], trial.config["changes"]) == (7e-3, 3)
