"""Trials of another sweep, told to a search."""

from __future__ import annotations

from pathlib import Path

import optuna
import searched

from sweep.study.from_records import reading_of, trials_of


def test_points_of_another_sweep_are_told_and_are_no_trials_of_this_one(tmp_path: Path) -> None:
    searched.run(searched.opened(tmp_path / "other", searched.experiment(12)))
    experiment = searched.experiment(4)
    warm = trials_of(searched.SweepFolder(tmp_path / "other"), reading_of(experiment))
    study = searched.opened(tmp_path / "sweep", experiment, warm=warm)
    jobs = searched.run(study)
    assert len(jobs) == study.points == len(study.folder.records()) == 4
    storage = optuna.storages.RDBStorage(f"sqlite:///{study.folder.study_path}")
    shown = optuna.load_study(study_name="searched", storage=storage).trials
    assert [one.user_attrs.get("warm_start") for one in shown] == [True] * 12 + [None] * 4
    assert [one.user_attrs["record"] for one in shown[:12]] == [one.key for one in warm]
    cold = searched.run(searched.opened(tmp_path / "cold", experiment))
    assert searched.points(cold) != searched.points(jobs)
