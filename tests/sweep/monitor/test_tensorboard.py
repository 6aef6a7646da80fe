"""Curves and HParams: TensorBoard reads back what the records say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_sweep import EVALUATION, write_sweep
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from sweep.monitor.tensorboard import TrialEvents, knobs
from trainables.config import TrainConfig
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult

SCORES = {"validation": {"rougeL": 0.25, "eval_loss": 2.0}, "test": {"rougeL": 0.5, "examples": 4}}


@pytest.fixture
def records(tmp_path: Path) -> list[TrialRecord]:
    """A baseline and a configuration, requested."""
    _, jobs, _ = write_sweep(tmp_path / "run", [{"max_steps": 0}, {"max_steps": 8}])
    return [TrialRecord(Path(job.folder)) for job in jobs]


def train(record: TrialRecord, first: int, last: int) -> None:
    for step in range(first, last + 1):
        row = {"train_loss": 3.0 - step / 10, "learning_rate": 1e-3 / step, "grad_norm": 1.0, "time_s": step / 2}
        record.append_metrics({"kind": "train", "step": step, **row})
        if step % 4 == 0:
            record.append_metrics({"kind": "eval", "step": step, "eval_loss": 4.0 - step / 10, "examples": 4})
            record.append_metrics({"kind": "generate", "step": step, "rougeL": step / 100, "examples": 2})


def finish(record: TrialRecord, **result: Any) -> None:
    record.write_evaluation(EVALUATION, {"test": []}, EvaluationSummary(splits=SCORES))
    content = {"state": "done", "steps": 8, "train_loss": 1.5, "first_eval_id": record.evaluation_ids()[0]}
    record.write_result(TrialResult(**{**content, **result}))


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    if tag not in read.Tags()["scalars"]:
        return []
    return [(event.step, round(event.value, 6)) for event in read.Scalars(tag)]


def session(folder: Path, tag: str) -> Any:
    read = EventAccumulator(str(folder))
    read.Reload()
    content = read.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_every_curve_is_there_as_it_grows(records: list[TrialRecord], tmp_path: Path) -> None:
    record, folder = records[1], tmp_path / "tb"
    events = TrialEvents(record, folder)
    train(record, 1, 4)
    events.update()
    assert curve(folder, "loss/train") == [(1, 2.9), (2, 2.8), (3, 2.7), (4, 2.6)]
    train(record, 5, 8)
    events.update()
    assert curve(folder, "loss/validation") == [(4, 3.6), (8, 3.2)]
    assert curve(folder, "train/learning_rate")[-1] == (8, 0.000125)
    assert curve(folder, "generate/rougeL") == [(4, 0.04), (8, 0.08)]
    assert curve(folder, "train/grad_norm")[0] == (1, 1.0)
    events.close()


def test_a_continued_trial_has_each_step_once(records: list[TrialRecord], tmp_path: Path) -> None:
    record, folder = records[1], tmp_path / "tb"
    events = TrialEvents(record, folder)
    train(record, 1, 6)
    events.update()
    record.cut_metrics_after(4)
    train(record, 5, 8)
    events.update()
    events.close()
    assert [step for step, _ in curve(folder, "loss/train")] == list(range(1, 9))
    again = TrialEvents(record, folder)
    again.update()
    again.close()
    assert [step for step, _ in curve(folder, "loss/train")] == list(range(1, 9))
    assert len(list(folder.iterdir())) == 1


def test_hparams_hold_every_knob_and_the_final_metrics(records: list[TrialRecord], tmp_path: Path) -> None:
    record, folder = records[1], tmp_path / "tb"
    train(record, 1, 8)
    finish(record)
    events = TrialEvents(record, folder)
    events.update()
    events.close()
    values = session(folder, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
    assert values["learning_rate"].number_value == pytest.approx(2e-4)
    assert values["target_modules"].string_value == "c_attn"
    assert set(TrainConfig.model_fields) - set(values) == {"prompt_template", "tokenization"}
    assert session(folder, metadata.SESSION_END_INFO_TAG).session_end_info.status == api_pb2.STATUS_SUCCESS
    assert curve(folder, "final/test/rougeL") == [(8, 0.5)]
    assert curve(folder, "final/validation/eval_loss") == [(8, 2.0)]
    assert curve(folder, "final/train_loss") == [(8, 1.5)]


def test_a_failed_trial_ends_as_failed_and_without_empty_metrics(records: list[TrialRecord], tmp_path: Path) -> None:
    record, folder = records[1], tmp_path / "tb"
    train(record, 1, 2)
    record.append_metrics({"kind": "train", "step": 3, "train_loss": float("nan"), "learning_rate": 1e-3})
    record.write_result(TrialResult(state="diverged", steps=3, train_loss=None))
    events = TrialEvents(record, folder)
    events.update()
    events.close()
    assert session(folder, metadata.SESSION_END_INFO_TAG).session_end_info.status == api_pb2.STATUS_FAILURE
    assert curve(folder, "final/train_loss") == []
    assert [step for step, _ in curve(folder, "loss/train")] == [1, 2]


def test_a_knob_has_one_type_over_baselines_and_configurations(records: list[TrialRecord]) -> None:
    baseline, configuration = (knobs(record.config()) for record in records)
    assert {key: type(value) for key, value in baseline.items()} == {
        key: type(value) for key, value in configuration.items()
    }
    assert all(isinstance(value, float | bool | str) for value in baseline.values())
