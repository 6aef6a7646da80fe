"""What a search takes from another sweep."""

from __future__ import annotations

from pathlib import Path

import optuna
import searched

from search_spaces.search import log_uniform, uniform
from sweep.study.warm_start import warm_start
from trainables.config import TrialConfig
from trainables.records.record import SweepFolder, TrialRecord


def test_finished_points_of_another_sweep_are_told_and_are_no_trials_of_this_one(tmp_path: Path) -> None:
    searched.run(searched.opened(tmp_path / "other", searched.experiment(16)))
    other = SweepFolder(tmp_path / "other")
    for number, (state, fields) in enumerate(
        [
            ("failed", {"lora_rank": 8}),
            ("done", {"lora_rank": 9}),
            ("done", {"max_steps": 4}),
            ("done", {"max_steps": 0}),
            ("done", {"lora_rank": 4, "prompt_template": "Sum up:\n\n{source}\n\nSummary:"}),
            ("none", {"lora_rank": 16}),
        ]
    ):
        train = searched.BASE.model_copy(
            update={"prompt_template": searched.TEMPLATE, "tokenization": "whole", **fields}
        )
        trial = TrialConfig(train=train, evaluation=searched.EVALUATION)
        record = TrialRecord(other.trials_folder / f"{number + 50:03d}-X-{trial.train_id}")
        record.write_config(trial, number + 50, "X", "X")
        if state != "none":
            searched.end(searched.TrialJob(str(record.folder), trial), state)

    experiment = searched.experiment(
        4,
        learning_rate=log_uniform(1e-5, 1e-1),
        lora_rank=[4, 8, 16, 32],
        lora_dropout=uniform(0, 0.2),
        prompt=["v1", "v2"],
    )
    warm = warm_start(other, experiment)
    assert len(warm.trials) == 16
    assert warm.left_out == {
        "has failed": 1,
        "is no point of this space": 2,
        "has another text of its prompt": 1,
        "has not finished, or not by this evaluation": 1,
    }
    study = searched.opened(tmp_path / "sweep", experiment, warm=warm.trials)
    jobs = searched.run(study)
    assert len(jobs) == study.points == 4
    assert len(study.folder.records()) == 4
    storage = optuna.storages.RDBStorage(f"sqlite:///{study.folder.study_path}")
    shown = optuna.load_study(study_name="searched", storage=storage).trials
    assert [one.user_attrs.get("sweep") for one in shown] == ["other"] * 16 + [None] * 4
    assert all(one.user_attrs["warm_start"] for one in shown[:16])
    assert shown[0].user_attrs["record"] == warm.trials[0].key
    cold = searched.run(searched.opened(tmp_path / "cold", experiment))
    assert searched.points(cold) != searched.points(jobs)
