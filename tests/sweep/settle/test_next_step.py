"""A race over records: who is evaluated on what next, what is left to report, and what a killed one does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweeps_on_disk import Trial, write_evaluation, write_sweep

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.render.json_report import report_of
from sweep.settle.next_step import SettleStep, next_step, reported, told
from sweep.settle.settle_plan import SettlePlan, settle_plan
from trainables.config import EvalConfig, TrainConfig, eval_id
from trainables.records.record import SweepFolder, TrialRecord

EVALUATION = EvalConfig(max_new_tokens=16, validation_examples=64, test_examples=24)
PLAN = settle_plan("rougeL", 0.05, EVALUATION, 200, is_search=False)
QUALITIES = {"A": 0.2, "B": 0.78, "C": 0.45, "D": 0.8}


def trials() -> list[Trial]:
    base = {"model": "gpt2", "data": "samsum", "precision": "fp32"}
    zero = Trial("zero-shot v1", "zero-shot-v1", TrainConfig(**base, max_steps=0), quality=0.1)
    rates = dict(zip(QUALITIES, (1e-4, 2e-4, 3e-4, 4e-4), strict=True))
    return [
        zero,
        *(
            Trial(name, f"{name}-v1", TrainConfig(**base, learning_rate=rates[name]), quality=quality)
            for name, quality in QUALITIES.items()
        ),
    ]


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    """A sweep whose trials have just ended: each was evaluated for a first look."""
    return SweepFolder(write_sweep(tmp_path / "sweep", trials(), PLAN.first))


def evaluate(folder: SweepFolder, step: SettleStep, most: int | None = None) -> None:
    """Evaluate what a step asks for, as engines would; no more than `most` of it."""
    named = {one.label: one for one in trials()}
    for job in step.jobs[:most]:
        record = TrialRecord(Path(job.folder))
        write_evaluation(record, named[record.config()["label"]], job.trial.evaluation, folder)


def steps(folder: SweepFolder, plan: SettlePlan = PLAN) -> Iterator[SettleStep]:
    while not (step := next_step(plan, folder)).is_over:
        yield step
        evaluate(folder, step)
    yield step


def names(step: SettleStep) -> list[str]:
    return [TrialRecord(Path(job.folder)).config()["name"] for job in step.jobs]


def test_only_those_still_in_the_race_are_evaluated_on_more_examples(sweep: SweepFolder) -> None:
    seen = list(steps(sweep))
    looked = [(names(one), one.jobs[0].trial.evaluation) for one in seen[:-1]]
    assert looked[0][1].examples == {"validation": 32}
    assert "A" not in looked[0][0]  # far behind after sixteen
    sizes = [one.validation_examples for _, one in looked[:-1]]
    assert sizes == sorted(set(sizes))
    last = seen[-1].race
    assert last is not None
    assert last.best in ("B", "D")
    finalists, reported_on = looked[-1]
    assert reported_on.test_examples == 24
    assert set(finalists) == {*reported(last), "zero-shot v1"}
    # A baseline stays at a first look where it is not compared, and has all examples where it is.
    (baseline,) = [job for job in seen[-2].jobs if job.trial.train.is_baseline]
    assert baseline.trial.evaluation.examples == {"validation": 16, "test": 24}
    written = {record.folder.name: texts_of(record) for record in sweep.records()}
    assert seen[-1].texts == sum(written.values())
    assert seen[-1].texts_of_all == 5 * (200 + 24)


def texts_of(record: TrialRecord) -> int:
    kinds = ("validation", "test")
    paths = {split: record.folder.glob(f"evals/*/predictions-{split}.jsonl") for split in kinds}
    return sum(max((len(path.read_text().splitlines()) for path in paths[split]), default=0) for split in kinds)


def test_a_race_that_is_killed_anywhere_ends_as_one_that_was_not(sweep: SweepFolder, tmp_path: Path) -> None:
    whole = SweepFolder(shutil.copytree(sweep.folder, tmp_path / "whole"))
    *_, expected = steps(whole)
    while not (step := next_step(PLAN, sweep)).is_over:
        evaluate(sweep, step, most=1)  # and killed
    assert step.race == expected.race
    assert (step.texts, step.evaluation) == (expected.texts, expected.evaluation)


def test_what_cannot_be_evaluated_leaves_the_race(sweep: SweepFolder) -> None:
    *_, expected = steps(SweepFolder(shutil.copytree(sweep.folder, sweep.folder.parent / "other")))
    assert expected.race is not None
    (best,) = [one for one in sweep.records() if one.config()["name"] == expected.race.best]
    step = next_step(PLAN, sweep, {best.folder.name})
    assert step.race is not None
    assert expected.race.best not in {one.name for one in step.race.standings}


def test_a_table_compares_only_what_was_evaluated_alike(sweep: SweepFolder) -> None:
    for step in steps(sweep):
        sweep.write_manifest(told(sweep.manifest(), PLAN, step))
        found = compare(sweep.folder)
        sizes = {
            row.values["validation_examples" if found.table.split == "test" else "examples"] for row in compared(found)
        }
        assert sizes == {step.evaluation.validation_examples}
    table, race = found.table, step.race
    assert race is not None
    assert found.best is not None
    assert found.best.name == race.best
    assert {one.name for one in found.ranking} == set(reported(race))
    assert "choice_examples" in [column.name for column in table.columns()]
    rows = {row.name: row for row in table.rows}
    assert rows["A"].summary is None
    assert rows["A"].values["choice_examples"] == 16
    assert rows["A"].values["validation_rougeL"] == pytest.approx(
        sum(line["scores"]["rougeL"] for line in lines(sweep, "A", PLAN.first)) / 16
    )
    assert rows["zero-shot v1"].values["choice_examples"] == 16
    assert found.differences[0].role == "baseline"
    assert found.differences[0].paired.n == 24
    findings = Findings(found)
    assert all("not done under evaluation" not in one for one in findings.conclusions)
    report = report_of(findings).document()
    assert report["race"]["verdict"] == race.verdict
    assert report["race"]["margin"] == 5
    assert report["race_texts"] == [step.texts, step.texts_of_all]


def compared(found: object) -> list:
    return [row for row in found.table.of_kind("configuration") if row.summary is not None]  # type: ignore[attr-defined]


def lines(sweep: SweepFolder, name: str, evaluation: EvalConfig) -> list[dict]:
    (record,) = [one for one in sweep.records() if one.config()["name"] == name]
    return record.predictions(eval_id(evaluation), "validation")
