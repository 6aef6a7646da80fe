"""Records: atomic, checksummed, found out where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.records import atomic_files
from trainables.records.damage import faults_of
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

TRIAL = TrialConfig(train=TrainConfig(model="gpt2", data="samsum"), evaluation=EvalConfig())


@pytest.fixture
def record(tmp_path: Path) -> TrialRecord:
    sweep = SweepFolder(tmp_path)
    record = TrialRecord(sweep.trials_folder / f"001-A-{TRIAL.train_id}")
    record.write_config(TRIAL, index=1, name="A", label="A-v1-r8")
    return record


def test_a_trial_is_finished_when_its_result_is_there_and_whole(record: TrialRecord) -> None:
    assert record.result() is None
    record.write_result(TrialResult(state="done", steps=32))
    result = record.result()
    assert result is not None
    assert (result.state, result.steps, result.schema_version) == ("done", 32, 1)


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("32", "33"), lambda text: ""])
def test_a_damaged_result_is_left_until_it_is_written_anew_and_the_trial_is_unfinished(
    record: TrialRecord, damage
) -> None:
    record.write_result(TrialResult(state="done", steps=32))
    damaged = damage(record.result_path.read_text())
    record.result_path.write_text(damaged)
    assert record.result() is None
    assert list(faults_of(record)) == ["result.json"]
    assert record.result_path.read_text() == damaged
    record.write_result(TrialResult(state="done", steps=32))
    assert record.result() is not None
    assert (record.folder / "result.json.damaged").read_text() == damaged


def test_an_unknown_state_is_never_written(record: TrialRecord) -> None:
    with pytest.raises(ValidationError):
        record.write_result(TrialResult(state="fine"))


def test_an_evaluation_counts_when_its_predictions_have_their_checksums(record: TrialRecord) -> None:
    identity = TRIAL.eval_id
    assert record.needs_evaluation(identity)
    record.write_evaluation(TRIAL.evaluation, {"test": [{"id": "1", "text": "a"}]}, EvaluationSummary(splits={}))
    assert not record.needs_evaluation(identity)
    assert record.evaluation_ids() == [identity]
    path = record.predictions_path(identity, "test")
    path.write_text(path.read_text().replace("a", "b"))
    assert record.needs_evaluation(identity)
    assert record.evaluation_ids() == []
    assert list(faults_of(record, identity)) == [f"evals/{identity}/predictions-test.jsonl"]
    record.write_evaluation(TRIAL.evaluation, {"test": [{"id": "1", "text": "a"}]}, EvaluationSummary(splits={}))
    assert record.evaluation_ids() == [identity]
    assert (record.folder / "evals" / f"{identity}.damaged" / "predictions-test.jsonl").exists()


def test_a_torn_last_line_of_the_curves_is_left_out_and_cut(record: TrialRecord) -> None:
    for step in (1, 2, 3):
        record.append_metrics({"kind": "train", "step": step})
    with record.metrics_path.open("a") as file:
        file.write('{"kind": "tra')
    assert [row["step"] for row in record.metrics()] == [1, 2, 3]
    record.cut_metrics_after(2)
    record.append_metrics({"kind": "train", "step": 3})
    assert [row["step"] for row in record.metrics()] == [1, 2, 3]


def test_nothing_is_committed_when_the_fence_is_down(record: TrialRecord) -> None:
    class TakenOver(RuntimeError):
        pass

    def fence() -> None:
        raise TakenOver

    late = TrialRecord(record.folder, fence)
    for commit in (
        lambda: late.write_result(TrialResult(state="done")),
        lambda: late.append_metrics({"step": 1}),
        lambda: late.write_evaluation(TRIAL.evaluation, {"test": []}, EvaluationSummary()),
        lambda: late.write_error("x", "y"),
    ):
        with pytest.raises(TakenOver):
            commit()
    assert sorted(path.name for path in record.folder.iterdir()) == ["config.json"]


def test_records_are_found_by_index_and_identity(tmp_path: Path, record: TrialRecord) -> None:
    sweep = SweepFolder(tmp_path)
    (sweep.trials_folder / "000-torn").mkdir()
    assert [found.folder for found in sweep.records()] == [record.folder]
    assert sweep.by_identity()[TRIAL.train_id].folder == record.folder


def test_a_json_document_survives_a_failed_write(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        atomic_files.write_json(path, {"a": object()})
    assert atomic_files.read_json(path) == {"a": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]
