"""What population-based training changed is in the status of a sweep and in TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweep import EVALUATION, write_sweep
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweep.monitor.progress import ProgressBoard
from sweep.monitor.tensorboard import TrialEvents
from sweep.status import _print, sweep_status
from trainables.config import TrialConfig
from trainables.jobs import TrialJob
from trainables.records.journal import append as append_line
from trainables.records.manifest import DataEntry, ModelEntry, SweepSources
from trainables.records.record import SweepFolder, TrialRecord

CHANGE = "step 9: weights of A at step 8, learning_rate 1e-09 to 0.004"


@pytest.fixture
def poor(tmp_path: Path) -> TrialRecord:
    """A trial that was changed once."""
    rates = ({"max_steps": 16, "learning_rate": rate} for rate in (5e-3, 1e-9))
    folder, jobs, _ = write_sweep(tmp_path / "run", [{"max_steps": 0}, *rates])
    sources = SweepSources(model=ModelEntry(label="tiny"), data=DataEntry(label="tiny"))
    more = {"experiment": "small", "eval_id": "0" * 8, "resolved": sources}
    folder.write_manifest(folder.manifest().model_copy(update=more))
    record = TrialRecord(Path(jobs[2].folder))
    knobs = {"old": {"learning_rate": 1e-9}, "new": {"learning_rate": 4e-3}}
    append_line(record.lineage_path, {"number": 1, "step": 9, "donor": "001-A-lr0.005-0f", "donor_step": 8, **knobs})
    return record


def test_the_status_says_how_often_and_how_a_trial_was_changed(
    poor: TrialRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sweep_status(SweepFolder(poor.folder.parents[1]))
    assert [trial.changes for trial in found.trials] == [(), (), (CHANGE,)]
    _print(found)
    assert "changed 1x, last at step 9: weights of" in " ".join(capsys.readouterr().out.split())


def test_tensorboard_has_each_change_as_a_text_once(poor: TrialRecord, tmp_path: Path) -> None:
    events = TrialEvents(poor, tmp_path / "tb")
    poor.append_metrics({"kind": "train", "step": 1, "train_loss": 3.0, "learning_rate": 1e-9, "time_s": 1.0})
    events.update()
    events.update()
    events.close()
    read = EventAccumulator(str(tmp_path / "tb"))
    read.Reload()
    assert read.SummaryMetadata("pbt/change").plugin_data.plugin_name == "text"
    (event,) = read.Tensors("pbt/change")
    assert (event.step, event.tensor_proto.string_val) == (8, [CHANGE.encode()])


def test_a_change_is_told_once_and_the_curve_that_it_cuts_back_not_again(poor: TrialRecord) -> None:
    poor.lineage_path.unlink()
    board = ProgressBoard([TrialJob(str(poor.folder), TrialConfig(train=poor.train_config(), evaluation=EVALUATION))])
    curve = [{"kind": "eval", "step": step, "eval_loss": 5.0, "examples": 4} for step in (4, 8, 12)]
    for row in curve:
        poor.append_metrics(row)
    assert len(board.update([])) == 3
    knobs = {"old": {"learning_rate": 1e-9}, "new": {"learning_rate": 4e-3}}
    append_line(poor.lineage_path, {"number": 1, "step": 12, "donor": "001-A", "donor_step": 8, **knobs})
    poor.cut_metrics_after(8)
    told = board.update([])
    assert [line.split(": ", 1)[1] for line in told] == [
        "changed at step 12: weights of A at step 8, learning_rate 1e-09 to 0.004"
    ]
    poor.append_metrics(curve[2])
    assert [line.split(": ", 1)[1] for line in board.update([])] == ["step 12/16, eval loss 5.0000"]
