"""What is decided: the same configurations in every seed, on dialogues that no other part has."""

from __future__ import annotations

from pathlib import Path

from benchmarks.deciding.task import make_task, name_of, write_data
from benchmarks.deciding.truth import identity_of
from benchmarks.project import write_experiment
from search_spaces.experiment import load_experiment
from trainables.config import TrialConfig
from trainables.records import atomic_files


def test_seeds_differ_in_order_and_dialogues_and_not_in_configurations(tmp_path: Path) -> None:
    one, other = (make_task("pocket", seed, tmp_path) for seed in (0, 1))
    assert len({name_of(trial.train) for trial in one.work.trials}) == 16
    assert {name_of(trial.train) for trial in one.work.trials} == {name_of(trial.train) for trial in other.work.trials}
    assert [name_of(trial.train) for trial in one.work.trials] != [name_of(trial.train) for trial in other.work.trials]
    assert sorted(one.order()) == list(range(16))
    assert one.order() != other.order()
    assert identity_of(one, 1000) == identity_of(other, 1000) != identity_of(one, 500)


def test_no_dialogue_is_in_two_parts(tmp_path: Path) -> None:
    folders = [Path(make_task("pocket", seed, tmp_path).work.base.data) for seed in (0, 1)]
    held_out = write_data(tmp_path / "held-out", None)
    parts = [folder / f"{split}.jsonl" for folder in folders for split in ("validation", "test")]
    ids = [{row["id"] for row in atomic_files.read_lines(path)} for path in (held_out / "test.jsonl", *parts)]
    assert [len(one) for one in ids] == [1000, 400, 400, 400, 400]
    assert not ids[0] & set().union(*ids[1:])
    assert not ids[1] & ids[3]


def test_this_project_is_given_the_very_configurations_of_the_peers(tmp_path: Path) -> None:
    task = make_task("pocket", 3, tmp_path, configurations=8, steps=8, looked_at=16, reported_on=8)
    experiment = load_experiment(str(write_experiment(task.work, tmp_path / "own.py", "decision")))
    found = [TrialConfig(train=one, evaluation=experiment.evaluation) for one in experiment.configurations()]
    assert [one.train_id for one in found] == [one.train_id for one in task.work.trials]
    assert {one.eval_id for one in found} == {one.eval_id for one in task.work.trials}
