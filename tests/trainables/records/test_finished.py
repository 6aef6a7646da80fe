"""When nothing is left to do for a trial, and what its state allows."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.jobs import TrialJob
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.finished import is_finished
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import ENDED, FAILURES, TRAINED, TrialState

TRIAL = TrialConfig(train=TrainConfig(model="gpt2", data="samsum"), evaluation=EvalConfig())
ADAPTER = b"weights"


def ended(folder: Path, state: TrialState, is_evaluated: bool = True, adapter: bytes = ADAPTER) -> TrialJob:
    record = TrialRecord(folder)
    record.adapter_folder.mkdir(parents=True)
    record.weights_path.write_bytes(adapter)
    record.write_result(TrialResult(state=state, adapter_sha256=sha256(ADAPTER).hexdigest()))
    if is_evaluated:
        record.write_evaluation(TRIAL.evaluation, {"test": [{"id": "1", "text": "a"}]}, EvaluationSummary(splits={}))
    return TrialJob(str(folder), TRIAL)


def test_a_trial_without_a_result_is_not_finished(tmp_path: Path) -> None:
    assert not is_finished(TrialJob(str(tmp_path), TRIAL))


@pytest.mark.parametrize("state", sorted(TRAINED))
def test_a_trained_trial_is_finished_once_it_is_evaluated_and_while_its_adapter_is_whole(
    tmp_path: Path, state: TrialState
) -> None:
    assert is_finished(ended(tmp_path / "whole", state))
    assert not is_finished(ended(tmp_path / "unread", state, is_evaluated=False))
    assert not is_finished(ended(tmp_path / "damaged", state, adapter=b"wEights"))


@pytest.mark.parametrize("more", [{}, {"of_a_newer_version": {"a": [1]}}])
def test_a_result_of_another_version_is_finished_all_the_same(tmp_path: Path, more: dict[str, object]) -> None:
    job = ended(tmp_path / "other", TrialState.DONE)
    record = TrialRecord(Path(job.folder))
    # An older version knew no pack_width, narrowed_to, skipped_steps, journals and adapter_files.
    written = {"state": "done", "steps": 8, "adapter_sha256": sha256(ADAPTER).hexdigest(), **more}
    atomic_files.write_json(record.result_path, {"schema": 1, **written})
    assert is_finished(job)


@pytest.mark.parametrize("state", sorted(FAILURES))
def test_a_failed_trial_is_finished_without_an_evaluation(tmp_path: Path, state: TrialState) -> None:
    assert is_finished(ended(tmp_path / "failed", state, is_evaluated=False, adapter=b"half"))


def test_every_state_with_a_result_is_either_trained_or_failed_and_is_its_plain_word_on_disk(tmp_path: Path) -> None:
    assert TRAINED | FAILURES == ENDED
    assert not TRAINED & FAILURES
    for state in ENDED:
        ended(tmp_path / state, state)
        assert json.loads((tmp_path / state / "result.json").read_text())["state"] == state.value
    assert {state.value for state in ENDED} == {"done", "stopped", "failed", "diverged", "oom"}
