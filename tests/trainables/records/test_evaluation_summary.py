"""The content of summary.json: of older and of newer versions, and means that are no number."""

from __future__ import annotations

import math
from pathlib import Path

from trainables.config import EvalConfig, eval_id, generation_id
from trainables.records import atomic_files, evaluation_summary
from trainables.records.damage import evaluation_faults
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.records.typed_document import read_if_whole


def test_an_evaluation_is_written_with_what_was_said_of_it_and_its_identities_alone(tmp_path: Path) -> None:
    record, evaluation = TrialRecord(tmp_path), EvalConfig()
    said = EvaluationSummary(signature="s", splits={"test": {"rougeL": 0.5, "eval_loss": -math.inf}})
    record.write_evaluation(evaluation, {"test": [{"id": "1"}]}, said)
    identity = eval_id(evaluation)
    written = atomic_files.read_json(record.summary_path(identity))
    assert list(written) == ["schema", "eval_id", "generation_id", "evaluation", "signature", "splits", "checksums"]
    assert (written["eval_id"], written["generation_id"]) == (identity, generation_id(evaluation))
    assert written["splits"] == {"test": {"rougeL": 0.5, "eval_loss": -math.inf}}


def test_an_older_summary_reads_with_defaults_and_what_a_newer_version_adds_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    content = {"schema": 1, "splits": {"test": {"rougeL": 0.5}}, "checksums": {}, "own": 7}
    atomic_files.write_json(path, content)
    summary = read_if_whole(path, EvaluationSummary)
    assert summary is not None
    assert (summary.signature, summary.generation_id, summary.wall_s) == ("", "", None)
    evaluation_summary.write(path, summary)
    assert atomic_files.read_json(path) == content


def test_a_whole_file_of_another_kind_is_no_evaluation_and_is_named(tmp_path: Path) -> None:
    record, evaluation = TrialRecord(tmp_path), EvalConfig()
    record.write_evaluation(evaluation, {"test": [{"id": "1"}]}, EvaluationSummary(signature="s"))
    identity = eval_id(evaluation)
    path = record.summary_path(identity)
    atomic_files.write_json(path, {**atomic_files.read_json(path), "checksums": "none"})
    assert record.summary(identity) is None
    (name, why), *_ = evaluation_faults(record, identity).items()
    assert (name, why.startswith("is damaged: checksums: ")) == (f"evals/{identity}/summary.json", True)
