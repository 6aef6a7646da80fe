"""The content of result.json: of older and of newer versions, and of none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from trainables.records import atomic_files, trial_result
from trainables.records.damage import faults_of
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.typed_document import damage_of


@pytest.fixture
def record(tmp_path: Path) -> TrialRecord:
    return TrialRecord(tmp_path / "001-A-v1-1f9ac2d0")


def test_an_older_result_reads_with_defaults_and_is_written_again_without_them(record: TrialRecord) -> None:
    older = {"schema": 1, "state": "done", "steps": 8, "wall_s": 3.5}
    atomic_files.write_json(record.result_path, older)
    result = record.result()
    assert result is not None
    assert (result.packmates, result.skipped_steps, result.adapter_files) == ((), None, None)
    trial_result.write(record.result_path, result)
    assert atomic_files.read_json(record.result_path) == older


def test_what_a_newer_version_or_a_user_adds_is_kept(record: TrialRecord) -> None:
    record.write_result(TrialResult(state="stopped", steps=2, own_metric=0.25))
    result = record.result()
    assert result is not None
    record.write_result(result.model_copy(update={"cause": "told to"}))
    assert atomic_files.read_json(record.result_path)["own_metric"] == 0.25


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_loss_that_is_no_finite_number_stays_what_it_is(record: TrialRecord, loss: float) -> None:
    record.write_result(TrialResult(state="diverged", train_loss=loss, own_metric=loss))
    kept, result = atomic_files.read_json(record.result_path), record.result()
    assert result is not None
    assert [str(one) for one in (kept["train_loss"], kept["own_metric"], result.train_loss)] == [str(loss)] * 3


@pytest.mark.parametrize("content", [{"state": "fine"}, {"state": "done", "steps": "many"}, {"steps": 8}])
def test_a_whole_file_that_says_no_result_counts_as_damaged(record: TrialRecord, content: dict[str, object]) -> None:
    atomic_files.write_json(record.result_path, content)
    assert record.result() is None
    assert faults_of(record)["result.json"].startswith("is damaged: st")  # the field
    assert damage_of(record.result_path, TrialResult) is not None
