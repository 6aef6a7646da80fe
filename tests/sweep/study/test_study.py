"""The study of a sweep: what it asks for, when it ends, and that a kill changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import searched


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
