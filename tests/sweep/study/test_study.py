"""The study of a sweep: what it asks for, when it ends, and that a kill changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import searched

from search_spaces.search import log_uniform, ratio


def test_points_are_written_as_trials_of_the_sweep(tmp_path: Path) -> None:
    study = searched.opened(tmp_path / "sweep", searched.experiment(3))
    jobs = searched.run(study)
    folder = study.folder
    records = folder.records()
    assert [str(one.folder) for one in records] == [job.folder for job in jobs]
    assert [one.config()["name"] for one in records] == ["A", "B", "C"]
    assert list(folder.manifest().trials["each"]) == [one.folder.name for one in records]
    assert study.remaining == 0


@pytest.mark.parametrize("kept", [11, *(pytest.param(kept, marks=pytest.mark.slow) for kept in (1, 13))])
def test_a_study_opened_anew_goes_on_as_one_that_was_not(tmp_path: Path, kept: int) -> None:
    experiment = searched.experiment(14)
    whole = searched.run(searched.opened(tmp_path / "whole", experiment))
    first = searched.run(searched.opened(tmp_path / "killed", experiment), most=kept)
    rest = searched.run(searched.opened(tmp_path / "killed", experiment))
    assert searched.points(first + rest) == searched.points(whole)


def test_more_trials_of_a_finished_search_are_new_ones(tmp_path: Path) -> None:
    first = searched.run(searched.opened(tmp_path / "sweep", searched.experiment(4)))
    more = searched.run(searched.opened(tmp_path / "sweep", searched.experiment(7)))
    assert len(more) == 3
    assert len({job.trial.train_id for job in first + more}) == 7


def test_no_point_is_tried_twice_and_a_small_space_is_used_up(tmp_path: Path) -> None:
    small = searched.experiment(50, lora_rank=[4, 8, 16], prompt=["v1", "v2"])
    jobs = searched.run(searched.opened(tmp_path / "sweep", small))
    assert len({job.trial.train_id for job in jobs}) == len(jobs) == 6


def test_points_that_do_not_fit_are_left_out_of_narrower_ranges(tmp_path: Path) -> None:
    wide = searched.experiment(trials=3, learning_rate=log_uniform(1e-4, 1e-1), lora_rank=[4, 8])
    study = searched.opened(
        tmp_path / "sweep", wide, infeasible=lambda train: "too large" if train.learning_rate > 1e-3 else None
    )
    searched.run(study)
    study.close()
    assert study.infeasible
    narrow = searched.experiment(trials=5, learning_rate=log_uniform(1e-4, 1e-3), lora_rank=[4, 8])
    again = searched.opened(tmp_path / "sweep", narrow)
    assert again.infeasible < study.infeasible
    assert len(searched.run(again)) == 5 - 3


def test_ratio_that_is_rounded_is_tried_once(tmp_path: Path) -> None:
    first = [{"warmup_steps/max_steps": 0.33}]
    axes: dict[str, Any] = {"max_steps": [8, 7], "warmup_steps": ratio("max_steps", 0.1, 0.8), "lora_rank": [4, 8, 16]}
    study = searched.opened(tmp_path / "sweep", searched.experiment(trials=8, first=first, **axes))
    tried = [one.trial.train.warmup_steps for one in searched.run(study)]
    assert len(set(tried)) > 2


def test_points_that_fit_by_now_are_tried(tmp_path: Path) -> None:
    small = searched.experiment(trials=4, lora_rank=[4, 8], prompt=["v1", "v2"])
    poor = searched.opened(tmp_path / "sweep", small, infeasible=lambda train: "too large")
    assert searched.run(poor) == []
    poor.close()
    assert poor.infeasible == 4
    rich = searched.opened(tmp_path / "sweep", small)
    assert len(searched.run(rich)) == 4
    assert rich.infeasible == 0
