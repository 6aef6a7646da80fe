"""Proposals against Optuna itself: what a study that was never interrupted suggests to the same sampler."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
import searched

from search_spaces.search import integer, log_uniform, ratio, uniform, when
from sweep.study.from_records import reading_of
from sweep.study.proposals import propose
from sweep.study.samplers import sampler_of, seed_of
from sweep.study.study_trial import PointState, StudyTrial

NUMERIC: dict[str, Any] = {"learning_rate": log_uniform(1e-4, 1e-1), "lora_rank": integer(4, 32)}
ONE_AXIS: dict[str, Any] = {"learning_rate": log_uniform(1e-4, 1e-1)}


def told_of(number: int, parameters: dict[str, Any], values: tuple[float, ...]) -> StudyTrial:
    return StudyTrial(f"{number}", f"{number:08x}", parameters, PointState.COMPLETE, values)


@pytest.mark.parametrize(
    "chosen",
    [
        "tpe",
        "random",
        "nsga2",
        pytest.param("cmaes", marks=pytest.mark.slow),
        pytest.param("gp", marks=pytest.mark.slow),
    ],
)
def test_as_a_study_of_optunas_that_was_never_interrupted(chosen: str) -> None:
    trials = {"nsga2": 26, "gp": 12}.get(chosen, 18)
    experiment = searched.experiment(trials, **NUMERIC)
    reading = reading_of(experiment)
    unbroken = optuna.create_study(direction="maximize")
    told: list[StudyTrial] = []
    for number in range(trials):
        seed = seed_of(reading.space.seed, number, 0)
        unbroken.sampler = sampler_of(chosen, trials, seed)
        trial = unbroken.ask()
        theirs = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "lora_rank": trial.suggest_int("lora_rank", 4, 32),
        }
        assert propose(reading.space, chosen, reading.objectives, told) == theirs
        value = -(math.log10(theirs["learning_rate"] / 1e-2) ** 2) - (theirs["lora_rank"] - 16) ** 2 / 100
        unbroken.tell(trial, value)
        told.append(told_of(number, theirs, (value,)))
    generations = {key: value for one in unbroken.trials for key, value in one.system_attrs.items() if "gener" in key}
    assert chosen not in ("cmaes", "nsga2") or max(generations.values()) >= 2, generations


@pytest.mark.parametrize("chosen", ["tpe", "nsga2"])
def test_running_pruned_and_failed_trials_and_several_objectives_are_taken(chosen: str) -> None:
    experiment = searched.experiment(30, objectives=("rougeL", "-trainable_parameters"))
    reading = reading_of(experiment)
    told: list[StudyTrial] = []
    for number in range(20):
        point = propose(reading.space, chosen, reading.objectives, told)
        state = list(PointState)[number % len(PointState)]
        has_values = state in (PointState.COMPLETE, PointState.PRUNED)
        values = (50.0 + number, 1000.0 * point["lora_rank"]) if has_values else ()
        told.append(StudyTrial(f"{number}", f"{number}", point, state, values, curve=((4, 2.0), (8, math.nan))))
    assert propose(reading.space, chosen, reading.objectives, told).keys() == set(searched.AXES)


def test_the_curve_ranks_what_was_stopped_early_in_the_direction_of_the_objective() -> None:
    """With every trial stopped TPE has the curves alone: it must go where losses are low."""
    reading = reading_of(searched.experiment(60, **ONE_AXIS))
    told: list[StudyTrial] = []
    for number in range(40):
        point = propose(reading.space, "tpe", reading.objectives, told)
        loss = 2 + math.log10(point["learning_rate"] / 1e-3) ** 2
        told.append(StudyTrial(f"{number}", f"{number}", point, PointState.PRUNED, (1.0,), ((4, loss),)))
    late = [abs(math.log10(one.parameters["learning_rate"] / 1e-3)) for one in told[20:]]
    assert sum(late) / len(late) < 0.5  # 0.75 by chance


def test_what_does_not_fit_is_learnt_from() -> None:
    reading = reading_of(searched.experiment(60, lora_rank=integer(1, 64), **ONE_AXIS))
    told: list[StudyTrial] = []
    for number in range(50):
        point = propose(reading.space, "tpe", reading.objectives, told)
        fits = point["lora_rank"] <= 16
        values = (point["lora_rank"],) if fits else ()
        state = PointState.COMPLETE if fits else PointState.INFEASIBLE
        told.append(StudyTrial(f"{number}", f"{number}", point, state, values))
    assert sum(one.state is PointState.COMPLETE for one in told[25:]) >= 12  # 6 of 25 by chance


def test_given_points_come_first_and_what_they_leave_open_is_suggested(tmp_path: Path) -> None:
    first = [{"learning_rate": 0.00123456, "lora_rank": 8, "lora_dropout": 0.1, "prompt": "v1"}, {"lora_rank": 32}]
    experiment = searched.experiment(5, first=first)
    jobs = searched.run(searched.opened(tmp_path / "sweep", experiment))
    one, other = jobs[0].trial.train, jobs[1].trial.train
    assert (one.learning_rate, one.lora_rank, one.lora_dropout, one.prompt) == (0.001235, 8, 0.1, "v1")
    assert other.lora_rank == 32
    assert len({job.trial.train_id for job in jobs}) == 5


def test_the_grid_sampler_takes_all_cells_in_order(tmp_path: Path) -> None:
    experiment = searched.experiment(50, lora_rank=[4, 8], prompt=["v1", "v2"], first=[{"prompt": "v2"}])
    jobs = searched.run(searched.opened(tmp_path / "sweep", experiment, "grid"))
    found = [(job.trial.train.lora_rank, job.trial.train.prompt) for job in jobs]
    assert found == [(4, "v2"), (4, "v1"), (8, "v1"), (8, "v2")]


def test_conditions_and_ratios_hold_in_every_point(tmp_path: Path) -> None:
    experiment = searched.experiment(
        14,
        lora_rank=[4, 8, 16],
        lora_alpha=ratio("lora_rank", 1, 4),
        schedule=["linear", "constant"],
        conditional=[when(schedule="linear", warmup_ratio=uniform(0.1, 0.5))],
    )
    for job in searched.run(searched.opened(tmp_path / "sweep", experiment)):
        train = job.trial.train
        assert 1 <= train.lora_alpha / train.lora_rank <= 4
        assert (train.warmup_ratio >= 0.1) == (train.schedule == "linear")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["cmaes", "nsga2"])
def test_generations_go_on_after_a_kill_without_the_study_file(tmp_path: Path, chosen: str) -> None:
    experiment = searched.experiment(18, **NUMERIC)
    whole = searched.run(searched.opened(tmp_path / "whole", experiment, chosen))
    first = searched.run(searched.opened(tmp_path / "killed", experiment, chosen), most=13)
    (tmp_path / "killed" / "optuna.db").unlink()
    rest = searched.run(searched.opened(tmp_path / "killed", experiment, chosen))
    assert searched.points(first + rest) == searched.points(whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("chosen", ["tpe", "random", "cmaes", "nsga2", "gp"])
def test_every_sampler_takes_points_that_do_not_fit(tmp_path: Path, chosen: str) -> None:
    def judge(train: Any) -> str | None:
        return "too big" if train.lora_rank > 20 else None

    study = searched.opened(tmp_path / "sweep", searched.experiment(12, **NUMERIC), chosen, infeasible=judge)
    jobs = searched.run(study)
    assert len(jobs) == 12
    assert study.infeasible > 0
    assert all(job.trial.train.lora_rank <= 20 for job in jobs)


def test_a_space_in_which_nothing_fits_ends_without_a_trial(tmp_path: Path) -> None:
    experiment = searched.experiment(4, **ONE_AXIS)
    study = searched.opened(tmp_path / "sweep", experiment, "random", infeasible=lambda train: "never")
    assert (study.ask(), study.points) == (None, 0)
