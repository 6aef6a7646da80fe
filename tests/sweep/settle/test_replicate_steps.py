"""Seeds that a race adds: who is run again, until when, and that a killed sweep goes on with the same seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sweeps_on_disk import Trial, write_evaluation, write_sweep, write_trial

from analysis.compare import compare
from analysis.findings.race_sentences import race_sentences
from analysis.records.settled import race_of
from sweep.settle.next_step import SettleStep, next_step, told
from sweep.settle.replicates import begin
from sweep.settle.settle_plan import settle_plan
from trainables.config import EvalConfig, TrainConfig
from trainables.records.record import SweepFolder, TrialRecord

EVALUATION = EvalConfig(max_new_tokens=16, validation_examples=64, test_examples=24)
PLAN = replace(settle_plan("rougeL", 0.04, EVALUATION, 128, is_search=False), most_seeds=3)
QUALITIES = {"A": 0.2, "B": 0.79, "C": 0.8}
SEEDS = (42, 43, 44)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    base = TrainConfig(model="gpt2", data="samsum", precision="fp32")
    rates = dict(zip(QUALITIES, (1e-4, 2e-4, 3e-4), strict=True))
    trials = [
        Trial("zero-shot v1", "zero-shot-v1", base.model_copy(update={"max_steps": 0}), quality=0.1),
        *(
            Trial(name, f"{name}-v1-s42", base.model_copy(update={"learning_rate": rates[name]}), quality)
            for name, quality in QUALITIES.items()
        ),
    ]
    return SweepFolder(write_sweep(tmp_path / "sweep", trials, PLAN.first))


def run(folder: SweepFolder, step: SettleStep, fails: bool = False) -> None:
    """Train and evaluate what a step asks for, as engines would."""
    begin(folder, step.new)
    for job in step.jobs:
        record = TrialRecord(Path(job.folder))
        config = record.config()
        quality = QUALITIES.get(config["name"], 0.1)
        trial = Trial(config["name"], config["label"], job.trial.train, quality, "failed" if fails else "done")
        if record.result() is None:
            write_trial(record, config["index"], trial, job.trial.evaluation, folder)
        else:
            write_evaluation(record, trial, job.trial.evaluation, folder)


def run_to_end(folder: SweepFolder, fails: bool = False) -> list[SettleStep]:
    seen = []
    while not (step := next_step(PLAN, folder)).is_over:
        run(folder, step, fails and bool(step.new))
        seen.append(step)
    folder.write_manifest(told(folder.manifest(), PLAN, step))
    return [*seen, step]


def seeds(folder: SweepFolder) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in folder.records():
        config = record.config()
        found.setdefault(config["name"], []).append(config["train"]["seed"])
    return found


def test_those_left_are_run_with_further_seeds_and_nobody_else(sweep: SweepFolder) -> None:
    last = run_to_end(sweep)[-1]
    found = seeds(sweep)
    assert found["A"] == [42]
    assert found["B"] == found["C"] == list(SEEDS[: len(found["B"])])
    assert len(found["B"]) >= 2
    assert last.replicates is not None
    assert last.replicates.race.verdict != "going"
    added = [one for one in sweep.records() if one.config()["train"]["seed"] == 43]
    assert {one.config()["label"] for one in added} == {"B-v1-s43", "C-v1-s43"}
    assert {one.folder.name for one in added} <= sweep.manifest().trials["each"].keys()


def test_the_table_has_the_means_over_seeds_and_the_report_says_so(sweep: SweepFolder) -> None:
    run_to_end(sweep)
    found = compare(sweep.folder)
    runs = {one.name: len(one.rows) for one in found.ranking}
    assert runs["B"] == runs["C"] >= 2
    settled = race_of(sweep.manifest())
    assert settled is not None
    assert settled.replicates is not None
    assert any(f"By up to {runs['B']} seeds" in one for one in race_sentences(settled))
    assert settled.replicates.run_sd > 0


def test_a_sweep_that_was_killed_begins_no_seed_twice(sweep: SweepFolder) -> None:
    while not (step := next_step(PLAN, sweep)).new:
        run(sweep, step)
    begin(sweep, step.new)  # and is killed before anything is trained
    again = next_step(PLAN, sweep)
    assert (again.new, [job.folder for job in again.jobs]) == ((), [job.folder for job in step.jobs])
    run_to_end(sweep)
    assert all(len(one) == len(set(one)) for one in seeds(sweep).values())


def test_a_seed_that_fails_ends_it(sweep: SweepFolder) -> None:
    last = run_to_end(sweep, fails=True)[-1]
    assert last.is_over
    assert seeds(sweep)["C"] == [42, 43]
    assert last.replicates is not None
    assert last.replicates.race.verdict == "used up"


def test_a_seed_that_was_given_up_ends_it(sweep: SweepFolder) -> None:
    """Else a launch would ask for it for ever."""
    while not (step := next_step(PLAN, sweep)).new:
        run(sweep, step)
    begin(sweep, step.new)
    assert next_step(PLAN, sweep, given_up={step.new[0].folder_name}).is_over


def test_without_auto_nobody_is_run_again(sweep: SweepFolder) -> None:
    plain = replace(PLAN, most_seeds=1)
    while not (step := next_step(plain, sweep)).is_over:
        run(sweep, step)
    assert step.replicates is None
    assert all(one == [42] for one in seeds(sweep).values())
