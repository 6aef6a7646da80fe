"""The study file: Optuna reads in it what the records say, whatever became of it before."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import searched

from search_spaces.search import log_uniform, when
from sweep.study.end_running import end_running
from trainables.errors import UserError
from trainables.records.record import TrialRecord


def read(path: Path, name: str = "searched") -> optuna.Study:
    storage = optuna.storages.RDBStorage(f"sqlite:///{path / 'optuna.db'}")
    return optuna.load_study(study_name=name, storage=storage)


def content(path: Path) -> list[dict[str, Any]]:
    """Return all that Optuna reads of the trials."""
    return [vars(one) for one in read(path).get_trials()]


def a_search(path: Path, trials: int = 3) -> Path:
    """Run a small search with a trial of every kind but the running ones, and leave it open."""
    study = searched.opened(path, searched.experiment(trials + 4))
    for state in ("failed", "stopped"):
        job = study.ask()
        assert job is not None
        searched.end(job, state, cause="out of luck" if state == "failed" else None)
        study.ended(Path(job.folder).name)
    searched.run(study, trials)
    assert study.fault is None
    return path


def test_optuna_reads_what_the_records_say(tmp_path: Path) -> None:
    a_search(tmp_path / "sweep")
    study = read(tmp_path / "sweep")
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.metric_names == ["rougeL"]
    states = optuna.trial.TrialState
    assert [one.state for one in study.trials] == [states.FAIL, states.PRUNED, *[states.COMPLETE] * 3]
    records = searched.SweepFolder(tmp_path / "sweep").records()
    for trial, record in zip(study.trials, records, strict=True):
        train = record.train_config()
        assert trial.params == {
            "learning_rate": train.learning_rate,
            "lora_rank": train.lora_rank,
            "lora_dropout": train.lora_dropout,
            "prompt": train.prompt,
        }
        assert trial.user_attrs["record"] == record.folder.name
        assert trial.user_attrs["train_id"] == record.config()["train_id"]
        losses = {row["step"]: -row["eval_loss"] for row in record.metrics()}
        assert trial.intermediate_values == losses
    done = study.trials[2]
    score = searched.score_of(records[2].train_config())
    assert math.isclose(done.value or 0, 100 * score)
    told = {"state": "done", "seconds": 10.0, "trainable_parameters": 1000 * done.params["lora_rank"], "name": "C"}
    assert told.items() <= done.user_attrs.items()
    assert math.isclose(done.user_attrs["rouge1"], 100 * score + 10, abs_tol=1e-3)
    assert study.trials[0].user_attrs["cause"] == "out of luck"


def not_a_database(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_another_schema(path: Path) -> None:
    changed(path, "UPDATE version_info SET schema_version = 11")


def without_a_table(path: Path) -> None:
    changed(path, "DROP TABLE trial_params")


def with_a_trial_more(path: Path) -> None:
    changed(path, "INSERT INTO trials VALUES (99, 98, 1, 'RUNNING', '2026-01-01 00:00:00.000000', NULL)")


def with_other_values(path: Path) -> None:
    changed(path, "UPDATE trial_values SET value = 99", "UPDATE trial_params SET param_value = 0.01")


def with_other_states(path: Path) -> None:
    changed(path, "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL")


def changed(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for one in statements:
            connection.execute(one)
    connection.close()


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        not_a_database,
        truncated,
        emptied,
        *(
            pytest.param(harm, marks=pytest.mark.slow)
            for harm in (of_another_schema, without_a_table, with_other_values, with_other_states)
        ),
        with_a_trial_more,
    ],
)
def test_a_file_that_is_not_as_the_records_say_is_made_anew(
    tmp_path: Path, one_search: Path, harm: Callable[[Path], None]
) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    live = content(path)
    harm(path / "optuna.db")
    study = searched.opened(path, searched.experiment(5))
    study.close()
    assert study.fault is None
    assert content(path) == live


@pytest.mark.slow
@pytest.mark.parametrize("harm", [Path.unlink, not_a_database, truncated])
def test_it_is_made_anew_in_the_midst_of_a_search(
    tmp_path: Path, one_search: Path, harm: Callable[[Path], None]
) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    study = searched.opened(path, searched.experiment(7))
    searched.run(study, 1)
    harm(path / "optuna.db")
    searched.run(study, 1)
    assert (study.fault, len(content(path))) == (None, 7)


def test_a_locked_file_is_written_later(tmp_path: Path, one_search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    monkeypatch.setattr("sweep.study.study.LOCKED_S", 0.05)
    study = searched.opened(path, searched.experiment(7))
    with sqlite3.connect(path / "optuna.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(searched.run(study, 2)) == 2
        assert study.fault is not None
        assert "locked" in study.fault
        other.rollback()
    other.close()
    study.close()
    assert study.fault is None
    assert [one["state"].name for one in content(path)][-2:] == ["COMPLETE", "COMPLETE"]


def test_the_study_of_another_experiment_is_left_alone(tmp_path: Path, one_search: Path) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    changed(path / "optuna.db", "UPDATE studies SET study_name = 'mine'")
    before = (path / "optuna.db").read_bytes()
    with pytest.raises(UserError, match="holds the study 'mine' of another experiment, not 'searched'"):
        searched.opened(path, searched.experiment(7))
    assert (path / "optuna.db").read_bytes() == before


def test_none_is_running_after_a_run_however_it_ended(tmp_path: Path, one_search: Path) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    study = searched.opened(path, searched.experiment(9))
    jobs = [study.ask(), study.ask()]
    study.report(Path(jobs[0].folder).name, 4, 2.5)
    assert [one["state"].name for one in content(path)][-2:] == ["RUNNING", "RUNNING"]
    assert content(path)[-2]["intermediate_values"] == {4: -2.5}
    assert end_running(path / "optuna.db") == 2
    assert [one["state"].name for one in content(path)][-2:] == ["WAITING", "WAITING"]
    study = searched.opened(path, searched.experiment(9))
    study.close()
    assert [one["state"].name for one in content(path)][-2:] == ["WAITING", "WAITING"]
    assert end_running(path / "absent.db") == 0
    assert not (path / "absent.db").exists()


def test_a_value_that_is_missing_or_not_finite_is_a_failure_with_its_cause(tmp_path: Path) -> None:
    study = searched.opened(tmp_path / "sweep", searched.experiment(3))
    nan, without = study.ask(), study.ask()
    searched.end(nan, score=lambda train: math.nan)
    searched.end(without)
    path = TrialRecord(Path(without.folder)).summary_path(without.trial.eval_id)
    searched.without_score(path, "rougeL")
    for job in (nan, without):
        study.ended(Path(job.folder).name)
    assert [(one.state.name, one.cause) for one in study.told] == [
        ("FAIL", "rougeL is not finite"),
        ("FAIL", "rougeL is missing"),
    ]
    assert [one["state"].name for one in content(tmp_path / "sweep")] == ["FAIL", "FAIL"]
    assert study.ask() is not None


def test_several_objectives_lists_and_conditions_are_read_back(tmp_path: Path) -> None:
    experiment = searched.experiment(
        12,
        objectives=("rougeL", "-trainable_parameters", "-runtime_s"),
        learning_rate=log_uniform(1e-4, 1e-1),
        target_modules=[["c_attn"], ["c_attn", "c_proj"]],
        optimizer=["adamw_torch", "paged_adamw_8bit"],
        conditional=[when(optimizer="adamw_torch", weight_decay=[0.0, 0.1])],
    )
    study = searched.opened(tmp_path / "sweep", experiment)
    jobs = searched.run(study)
    study.close()
    found = read(tmp_path / "sweep")
    assert found.metric_names == ["rougeL", "trainable_parameters", "runtime_s"]
    assert [one.name for one in found.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    for trial, job in zip(found.trials, jobs, strict=True):
        train = job.trial.train
        assert trial.params["target_modules"] == "+".join(train.target_modules)
        condition = trial.params.get("weight_decay[optimizer=adamw_torch]")
        assert condition == (train.weight_decay if train.optimizer == "adamw_torch" else None)
        assert trial.values == [pytest.approx(100 * searched.score_of(train)), 1000 * train.lora_rank, 10.0]
    assert found.best_trials


def test_points_that_do_not_fit_cost_nothing_and_are_told(tmp_path: Path) -> None:
    def judge(train: Any) -> str | None:
        return "needs 9 GB of 8" if train.lora_rank > 8 else None

    experiment = searched.experiment(12)
    study = searched.opened(tmp_path / "sweep", experiment, infeasible=judge)
    jobs = searched.run(study)
    live = content(tmp_path / "sweep")
    assert len(jobs) == 12
    assert max(job.trial.train.lora_rank for job in jobs) == 8
    assert study.infeasible > 0
    refused = [one for one in read(tmp_path / "sweep").trials if one.user_attrs["state"] == "infeasible"]
    assert len(refused) == study.infeasible
    assert all(one.constraints == {"0": 1.0} and one.params["lora_rank"] > 8 for one in refused)
    (tmp_path / "sweep" / "optuna.db").unlink()
    again = searched.opened(tmp_path / "sweep", experiment, infeasible=judge)
    assert again.infeasible == study.infeasible
    assert content(tmp_path / "sweep") == live


@pytest.fixture(scope="module")
def one_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_search(tmp_path_factory.mktemp("one-search") / "sweep")


def test_folder_in_place_of_the_study_file_does_not_end_a_search(tmp_path: Path) -> None:
    folder = searched.new_sweep(tmp_path / "sweep")
    folder.study_path.mkdir()
    study = searched.opened(folder.folder, searched.experiment(trials=2))
    assert len(searched.run(study)) == 2
    assert "cannot be written" in str(study.fault)


def test_a_database_that_somebody_else_made_is_set_aside(tmp_path: Path, one_search: Path) -> None:
    path = searched.copied(one_search, tmp_path / "sweep")
    (path / "optuna.db").unlink()
    changed(path / "optuna.db", "CREATE TABLE notes (line TEXT)", "INSERT INTO notes VALUES ('kept')")
    searched.opened(path, searched.experiment(5)).close()
    with sqlite3.connect(path / "optuna.db.damaged") as kept:
        assert kept.execute("SELECT line FROM notes").fetchall() == [("kept",)]
    kept.close()
    assert len(content(path)) == 5
