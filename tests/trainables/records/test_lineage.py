"""A trial takes over another's state: exactly, once, with its own name, and with a record that outlives a kill."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from engine_inputs import engine_of, evaluation_of, record_of, train_losses, trial, write_model, write_sweep
from packs import packed_engine
from waiting import wait_until

from trainables.config import TrialConfig
from trainables.jobs import Interrupted, TrialJob, go_on, no_report
from trainables.records.atomic_files import read_json
from trainables.records.checkpoint import latest_checkpoint
from trainables.records.journal import append as append_line
from trainables.records.lineage import Change, adopt, is_pinned, pin, release, sentence, settle, trained_with
from trainables.records.record import SweepFolder, TrialRecord

SMALL = evaluation_of(tokens=2, validation=3, test=1)
GOOD = trial(SMALL, max_steps=12, learning_rate=5e-3, lora_dropout=0.1)
POOR = trial(SMALL, max_steps=12, learning_rate=1e-9, lora_dropout=0.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


class Asked:
    """A control that lets everything go on and counts how often it is asked: by one that waits, each time it looks."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Literal["go"]:
        self.times += 1
        return "go"


def engine(kind: str, sweep: SweepFolder, model: Path) -> Any:
    return packed_engine(sweep, model) if kind == "packed" else engine_of(sweep, model)


def run_to(step: int, one: TrialConfig, name: str, by: Any, sweep: SweepFolder) -> tuple[TrialRecord, TrialJob]:
    """Run a trial up to a step and leave its checkpoint there."""
    record, job = record_of(sweep, one, name)
    with pytest.raises(Interrupted):
        by.run(job, no_report, lambda: "interrupt" if len(train_losses(record)) >= step else "go")
    return record, job


def to_donor(donor: TrialRecord, step: int, number: int = 1, **values: float) -> Change:
    return Change(number, donor.folder.name, step, values or {"learning_rate": 5e-3})


def column(record: TrialRecord, kind: str, name: str, after: int) -> list[Any]:
    return [row[name] for row in record.metrics() if row["kind"] == kind and row["step"] > after]


def weights(record: TrialRecord) -> dict[str, list[float]]:
    checkpoint = latest_checkpoint(record)
    assert checkpoint is not None
    return {name: tensor.flatten().tolist() for name, tensor in checkpoint.adapter.items()}


@pytest.mark.parametrize("kind", ["packed", "solo"])
def test_a_trial_with_the_knobs_of_its_donor_goes_on_as_its_donor_does(
    kind: str, sweep: SweepFolder, model: Path
) -> None:
    by = engine(kind, sweep, model)
    donor, donor_job = run_to(4, GOOD, "A", by, sweep)
    record, job = run_to(4, POOR, "B", by, sweep)
    before = read_json(record.config_path)
    assert adopt(record, to_donor(donor, 4), go_on)
    own, theirs = latest_checkpoint(record), latest_checkpoint(donor)
    assert own is not None
    assert theirs is not None
    for mine, given in ((own.adapter, theirs.adapter), (own.optimizer, theirs.optimizer)):
        assert set(mine) == set(given) != set()
        assert all(torch.equal(mine[name], given[name]) for name in given)
    result = by.run(job, no_report, go_on)
    whole = by.run(donor_job, no_report, go_on)
    for curve, name in (("train", "train_loss"), ("train", "learning_rate"), ("eval", "eval_loss")):
        assert column(record, curve, name, 4) == column(donor, curve, name, 4) != []
    assert result.adapter_sha256 == whole.adapter_sha256
    assert (result.steps, result.restarts, whole.restarts) == (12, 0, 1)
    assert read_json(record.config_path) == before
    (line,) = record.lineage()
    assert (line["step"], line["donor"], line["donor_step"]) == (4, donor.folder.name, 4)
    assert (line["old"], line["new"]) == ({"learning_rate": 1e-9}, {"learning_rate": 5e-3})
    assert sentence(line) == "step 4: weights of A at step 4, learning_rate 1e-09 to 0.005"


@pytest.mark.parametrize(("own_step", "donor_step"), [(6, 4), (4, 6)])
def test_curves_have_each_step_once_whoever_is_ahead(
    own_step: int, donor_step: int, sweep: SweepFolder, model: Path
) -> None:
    by = engine("packed", sweep, model)
    donor, _ = run_to(donor_step, GOOD, "A", by, sweep)
    record, job = run_to(own_step, POOR, "B", by, sweep)
    adopt(record, to_donor(donor, donor_step), go_on)
    assert by.run(job, no_report, go_on).steps == 12
    rows = [row for row in record.metrics() if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 13))
    lent = [row["step"] for row in rows if row.get("of") == donor.folder.name]
    assert lent == list(range(own_step + 1, donor_step + 1))
    assert rows[donor_step]["learning_rate"] == pytest.approx(5e-3 * (1 - donor_step / 12))


def test_the_changed_knobs_stay_after_a_further_interruption(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = run_to(4, GOOD, "A", by, sweep)
    record, job = run_to(4, POOR, "B", by, sweep)
    adopt(record, to_donor(donor, 4, learning_rate=4e-3, lora_dropout=0.0), go_on)
    run_to(7, POOR, "B", by, sweep)
    append_line(record.lineage_path, {**record.lineage()[0], "number": 2, "new": {"learning_rate": 1.0}})  # then a kill
    assert by.run(job, no_report, go_on).restarts == 1
    assert column(record, "train", "learning_rate", 4) == pytest.approx([4e-3 * (1 - at / 12) for at in range(4, 12)])
    assert [line["number"] for line in record.lineage()] == [1]
    assert trained_with(POOR.train, record.lineage()).lora_dropout == 0


def test_a_trial_whose_changes_cannot_be_read_does_not_go_on_with_other_knobs(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = run_to(4, GOOD, "A", by, sweep)
    record, job = run_to(4, POOR, "B", by, sweep)
    adopt(record, to_donor(donor, 4, learning_rate=4e-3), go_on)
    run_to(7, POOR, "B", by, sweep)
    record.lineage_path.write_bytes(record.lineage_path.read_bytes().replace(b"0.004", b"0.009"))
    result = by.run(job, no_report, go_on)
    assert (result.state, "lineage.jsonl is damaged: it does not hold change 1" in result.cause) == (
        "failed",
        True,
    )


def test_a_change_is_made_once(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = run_to(4, GOOD, "A", by, sweep)
    record, _ = run_to(4, POOR, "B", by, sweep)
    assert adopt(record, to_donor(donor, 4), go_on)
    run_to(6, POOR, "B", by, sweep)
    assert not adopt(record, to_donor(donor, 4), go_on)
    assert latest_checkpoint(record).step == 6  # type: ignore[union-attr]
    run_to(8, GOOD, "A", by, sweep)
    assert adopt(record, to_donor(donor, 8, number=2, learning_rate=6e-3), go_on)
    assert [line["old"] for line in record.lineage()] == [{"learning_rate": 1e-9}, {"learning_rate": 5e-3}]


def test_without_its_donors_checkpoint_a_trial_goes_on_as_it_was(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = record_of(sweep, GOOD, "A")
    record, job = run_to(4, POOR, "B", by, sweep)
    assert not adopt(record, to_donor(donor, 4), go_on, patience_s=0.1)
    with pytest.raises(Interrupted):
        adopt(record, to_donor(donor, 4), lambda: "interrupt")
    assert by.run(job, no_report, go_on).steps == 12
    assert record.lineage() == []
    assert column(record, "train", "learning_rate", 11) == pytest.approx([1e-9 / 12])


def test_a_trial_waits_for_the_checkpoint_that_its_donor_is_writing(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = record_of(sweep, GOOD, "A")
    record, _ = run_to(4, POOR, "B", by, sweep)
    found: list[bool] = []
    asked = Asked()
    waiting = threading.Thread(target=lambda: found.append(adopt(record, to_donor(donor, 4), asked)))
    waiting.start()
    wait_until(lambda: asked.times >= 2)
    run_to(4, GOOD, "A", by, sweep)
    waiting.join(30)
    assert found == [True]


def test_a_pinned_checkpoint_outlives_later_ones_and_the_end_of_its_trial(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, job = run_to(2, GOOD, "A", by, sweep)
    record, _ = run_to(4, POOR, "B", by, sweep)
    pin(donor, 2, record.folder.name)
    pin(donor, 4)
    pin(donor, 8)
    assert [is_pinned(donor.checkpoint_path(step)) for step in (2, 4, 8)] == [True, False, True]
    by.run(job, no_report, go_on)
    kept = sorted(path.name for path in donor.checkpoint_folder.iterdir() if path.is_dir())
    assert kept == ["step-00002", "step-00008"]
    assert adopt(record, to_donor(donor, 2), go_on)
    assert not is_pinned(donor.checkpoint_path(2))
    release(sweep)
    assert not donor.checkpoint_folder.exists()
    assert latest_checkpoint(record) is not None


def test_what_others_are_to_take_over_stays_until_they_have_it(sweep: SweepFolder, model: Path) -> None:
    by = engine("packed", sweep, model)
    donor, _ = run_to(4, GOOD, "A", by, sweep)
    record, _ = run_to(4, POOR, "B", by, sweep)
    third, _ = run_to(4, trial(SMALL, max_steps=12, learning_rate=1e-8), "C", by, sweep)
    pin(record, 4, third.folder.name)
    good, poor = weights(donor), weights(record)
    asked = Asked()
    changing = threading.Thread(target=lambda: adopt(record, to_donor(donor, 4), asked))
    changing.start()
    wait_until(lambda: asked.times >= 3)
    assert changing.is_alive()
    assert adopt(third, to_donor(record, 4, learning_rate=1e-7), go_on)
    changing.join(30)
    assert (weights(third), weights(record)) == (poor, good)
    assert good != poor


def test_a_trial_without_changes_has_no_lineage(tmp_path: Path) -> None:
    record = TrialRecord(tmp_path)
    assert record.lineage() == settle(record, 0) == []
    assert trained_with(POOR.train, []) is POOR.train
    assert not record.lineage_path.exists()
