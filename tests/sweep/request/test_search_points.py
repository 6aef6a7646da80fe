"""Which trials a search has and how many it still asks for: points of its space, whoever made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import searched
from searched import end, opened

from search_spaces.points import point_of
from search_spaces.search import search
from sweep.request.search_points import remaining, requested_trials
from sweep.request.trials import known_trials, name_trials
from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.records.record import SweepFolder, TrialRecord


def test_a_new_search_has_its_baselines_and_what_stands_for_its_points() -> None:
    experiment = searched.experiment(trials=12)
    found = requested_trials(experiment)
    assert [trial.name for trial in found.trials] == ["zero-shot v1", "zero-shot v2"]
    assert (found.held, found.remaining) == (0, 12)
    rates = {trial.trial.train.learning_rate for trial in found.to_come}
    assert rates == {1e-4, 1e-1}  # the ends
    assert {trial.trial.train.lora_rank for trial in found.to_come} == {4, 8, 16, 32}
    assert len(found.judged) == len(found.trials) + len(found.to_come)


def test_points_count_whoever_made_them(tmp_path: Path) -> None:
    experiment = searched.experiment(trials=3)
    study = opened(tmp_path / "sweep", experiment)
    job = study.ask()
    assert job is not None
    end(job)
    folder = SweepFolder(tmp_path / "sweep")
    point = {"learning_rate": 1e-3, "lora_rank": 8, "lora_dropout": 0.1, "prompt": "v1"}
    assert experiment.search is not None
    inside = experiment.filled_in(point_of(experiment.search, point))
    outside = inside.model_copy(update={"lora_rank": 5})
    trials = [TrialConfig(train=train, evaluation=experiment.evaluation) for train in (inside, outside)]
    for one in name_trials(experiment, trials, known_trials(folder)):  # as a grid writes them
        TrialRecord(folder.trials_folder / one.folder_name).write_config(one.trial, one.index, one.name, one.label)
    found = requested_trials(experiment, known=known_trials(folder))
    assert [(trial.name, trial.index) for trial in found.trials if not trial.is_baseline] == [("A", 1), ("B", 2)]
    assert (found.held, found.remaining) == (2, 1)
    more = requested_trials(searched.experiment(trials=2), known=known_trials(folder))
    assert (more.remaining, more.to_come) == (0, ())
    other = replace(experiment, prompts={"v1": "{source}\nIn short:"})  # the same name, another text
    kept = [job.trial.train.prompt, "v1"]
    assert requested_trials(other, known=known_trials(folder)).held == kept.count("v2")


def test_a_space_that_is_used_up_asks_for_no_more() -> None:
    space = search(searched.BASE, lora_rank=[4, 8], prompt=["v1", "v2"], trials=9)
    held = [{"lora_rank": 4, "prompt": "v1"}, {"lora_rank": 8, "prompt": "v1"}]
    assert remaining(space, held) == 2
    assert remaining(space, held, [{"lora_rank": 8, "prompt": "v2"}]) == 1
    assert remaining(replace(space, trials=3), held) == 1


def test_every_combination_that_a_baseline_reads_has_its_baseline() -> None:
    experiment = searched.experiment(
        trials=4, model=["a", "b"], prompt=["v1", "v2"], max_length_tokens=[256, 512], lora_rank=[4, 8]
    )
    found = requested_trials(experiment)
    read = {(one.trial.train.model, one.trial.train.prompt, one.trial.train.max_length_tokens) for one in found.trials}
    assert len(read) == len(found.trials) == 8


def test_replicates_and_a_search_exclude_each_other() -> None:
    with pytest.raises(UserError, match="--seeds 3 and a search exclude each other: a search spends its trials on new"):
        requested_trials(searched.experiment(), seeds=3)
    with pytest.raises(UserError, match="at most 20,000 trials, got 30,000"):
        requested_trials(searched.experiment(trials=30_000))
