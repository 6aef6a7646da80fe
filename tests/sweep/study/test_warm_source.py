"""What a search can learn from another sweep: its points of the same task, and why not the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import searched
from searched import EVALUATION, end, opened

from sweep.study.warm_source import check_warm_start, warm_source
from trainables.config import EvalConfig, TrainConfig, eval_id
from trainables.errors import UserError
from trainables.records.manifest import DataEntry, ModelEntry, SweepSources
from trainables.records.record import SweepFolder

FINGERPRINTS = {"models": ["m1"], "data": "d1"}


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A sweep of four points: two done, one stopped, one failed, and one begun."""
    study = opened(tmp_path / "other", searched.experiment(trials=5))
    for state in ("done", "done", "stopped", "failed", None):
        job = study.ask()
        assert job is not None
        if state:
            end(job, state)
    folder = SweepFolder(tmp_path / "other")
    sources = SweepSources(model=ModelEntry(fingerprint="m1"), data=DataEntry(fingerprint="d1"))
    sources = sources.model_copy(update={"models": (ModelEntry(fingerprint="m1"),)})
    folder.write_manifest(folder.manifest().model_copy(update={"resolved": sources, "eval_id": eval_id(EVALUATION)}))
    return str(tmp_path / "other")


def test_points_are_told_and_the_others_counted_with_their_reason(other: str, tmp_path: Path) -> None:
    found = warm_source(other, searched.experiment(trials=9), **FINGERPRINTS)
    assert [str(trial.state) for trial in found.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert found.left_out == {"has failed": 1, "has not finished, or not by this evaluation": 1}
    assert found.sentence.startswith(f"warm start: 3 of 5 trials of {other} are used; 1: has failed; 1: has not")
    study = opened(tmp_path / "new", searched.experiment(trials=9), warm=found.trials)
    assert study.remaining == 9  # what another sweep has tried is none of this one's
    narrow = warm_source(other, searched.experiment(trials=9, learning_rate=[7e-5, 8e-5]), **FINGERPRINTS)
    assert narrow.left_out == {"is no point of this space": 5}


def test_another_task_is_refused(other: str) -> None:
    wanted = searched.experiment()
    with pytest.raises(UserError, match=r"is of another task: its model .* is not that of this sweep"):
        warm_source(other, wanted, ["m2"], "d1")
    with pytest.raises(UserError, match=r"is of another task: its data .* is not that of this sweep"):
        warm_source(other, wanted, ["m1"], "d2")
    longer = searched.experiment(evaluation=EvalConfig(validation_examples=8, test_examples=4))
    with pytest.raises(UserError, match="none of its trials is evaluated as here; see --eval-examples"):
        warm_source(other, longer, **FINGERPRINTS)


def test_a_warm_start_is_for_a_search_from_a_sweep(other: str, tmp_path: Path) -> None:
    check_warm_start(None, searched.experiment())
    check_warm_start(other, searched.experiment())
    with pytest.raises(UserError, match="there is no sweep"):
        check_warm_start(str(tmp_path / "absent"), searched.experiment())
    from search_spaces.experiment import Experiment
    from search_spaces.grid import grid

    declared = Experiment("e", "", grid(TrainConfig(model="a", data="b"), lora_rank=[4, 8]))
    with pytest.raises(UserError, match="is for a search, and e is a grid: add --search auto --trials 24"):
        check_warm_start(other, declared)
