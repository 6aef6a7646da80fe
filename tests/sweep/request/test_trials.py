"""Plans: letters and indices are given once, baselines once per prompt, and what is finished is left alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from search_spaces.experiment import Experiment, load_experiment
from search_spaces.grid import grid, with_axes
from sweep.request.trials import PlannedTrial, jobs_left, known_trials, letters, plan_trials
from trainables.config import DECODINGS, EvalConfig, TrainConfig
from trainables.errors import UserError
from trainables.records.atomic_files import write_bytes
from trainables.records.damage import adapter_is_whole
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

EXPERIMENT = load_experiment("grid_2x2x2")


def with_decoding(experiment: Experiment, name: str) -> Experiment:
    return replace(experiment, evaluation=experiment.evaluation.model_copy(update={"decoding": DECODINGS[name]}))


def with_grid(**axes: object) -> Experiment:
    return replace(EXPERIMENT, grid=with_axes(EXPERIMENT.grid, axes))  # type: ignore[arg-type]


def write(folder: SweepFolder, planned: list[PlannedTrial]) -> None:
    for trial in planned:
        record = TrialRecord(folder.trials_folder / trial.folder_name)
        if not record.config_path.exists():
            record.write_config(trial.trial, trial.index, trial.name, trial.label)


def finish(folder: SweepFolder, trial: PlannedTrial, state: str = "done") -> TrialRecord:
    record = TrialRecord(folder.trials_folder / trial.folder_name)
    record.write_result(TrialResult(state=state))
    if state == "done":
        record.write_evaluation(trial.trial.evaluation, {"test": [{"id": "a"}]}, EvaluationSummary(splits={}))
    return record


def named(planned: list[PlannedTrial]) -> dict[str, str]:
    return {trial.folder_name: trial.name for trial in planned}


def test_letters_follow_prompt_then_rank_then_rate_and_baselines_come_last() -> None:
    planned = plan_trials(EXPERIMENT)
    assert [trial.name for trial in planned] == [*"ABCDEFGH", "zero-shot v1", "zero-shot v2"]
    assert [trial.index for trial in planned] == list(range(1, 11))
    assert planned[2].label == "C-v1-r16-lr0.0005-s42"
    assert planned[2].folder_name == f"003-C-v1-r16-lr0.0005-s42-{planned[2].trial.train_id}"
    assert planned[9].folder_name.startswith("010-zero-shot-v2-")


def test_letters_go_on_after_z() -> None:
    assert list(itertools.islice(letters(), 25, 29)) == ["Z", "AA", "AB", "AC"]


def test_replicates_share_their_letter_and_a_greedy_baseline_runs_once() -> None:
    planned = plan_trials(EXPERIMENT, seeds=3)
    assert len(planned) == 24 + 2
    assert [trial.label for trial in planned if trial.name == "B"] == [
        "B-v1-r8-lr0.0002-s42",
        "B-v1-r8-lr0.0002-s43",
        "B-v1-r8-lr0.0002-s44",
    ]
    assert {trial.trial.train.data_seed for trial in planned} == {42}


def test_a_sampling_baseline_has_replicates_of_its_own() -> None:
    planned = plan_trials(with_decoding(EXPERIMENT, "original"), seeds=2)
    labels = [trial.label for trial in planned if trial.is_baseline]
    assert labels == ["zero-shot-v1-s42", "zero-shot-v2-s42", "zero-shot-v1-s43", "zero-shot-v2-s43"]


def test_a_repeated_value_is_one_trial() -> None:
    assert len(plan_trials(with_grid(lora_rank=[8, 8]))) == 4 + 2


def test_a_baseline_per_base_that_it_reads_with() -> None:
    planned = plan_trials(with_grid(quantization=["none", "nf4"], prompt=["v1"]))
    assert [trial.name for trial in planned if trial.is_baseline] == ["zero-shot v1", "zero-shot v1 nf4"]


def test_an_axis_without_a_name_of_its_own_is_in_the_label() -> None:
    planned = plan_trials(with_grid(prompt=["v1"], lora_rank=[8], learning_rate=[1e-5], lora_dropout=[0.0, 0.2]))
    assert [trial.label for trial in planned[:2]] == [
        "A-v1-r8-lr1e-05-lora_dropout0-s42",
        "B-v1-r8-lr1e-05-lora_dropout0.2-s42",
    ]


def test_asking_for_more_keeps_every_name_and_numbers_the_rest_after_them(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    first = plan_trials(EXPERIMENT)
    write(folder, first)
    more = plan_trials(with_grid(lora_rank=[4, 8, 16]), seeds=2, known=known_trials(folder))
    assert named(first).items() <= named(more).items()
    new = [trial for trial in more if trial.folder_name not in named(first)]
    assert [trial.name for trial in new if trial.trial.train.seed == 42] == ["I", "J", "K", "L"]
    assert sorted(trial.index for trial in new) == list(range(11, 11 + len(new)))
    assert {trial.name for trial in more if trial.trial.train.lora_rank == 8 and not trial.is_baseline} == set("ABEF")
    write(folder, more)
    again = plan_trials(with_grid(lora_rank=[4, 8, 16]), seeds=2, known=known_trials(folder))
    assert named(again) == named(more)


def test_a_baseline_is_found_again_under_sampling(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    first = plan_trials(EXPERIMENT)
    write(folder, first)
    sampled = plan_trials(with_decoding(EXPERIMENT, "original"), known=known_trials(folder))
    assert named(sampled) == named(first)


def test_a_damaged_configuration_keeps_its_folder_and_letter(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    first = plan_trials(EXPERIMENT)
    write(folder, first)
    for trial in (first[2], first[8]):
        path = folder.trials_folder / trial.folder_name / "config.json"
        path.write_text(path.read_text()[:-20])
    assert named(plan_trials(EXPERIMENT, known=known_trials(folder))) == named(first)


def test_only_what_is_unfinished_is_left_and_baselines_go_first(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    planned = plan_trials(EXPERIMENT)
    write(folder, planned)
    for trial in (planned[0], planned[8]):
        finish(folder, trial)
    finish(folder, planned[1], "diverged")
    left = [Path(job.folder).name for job in jobs_left(folder, planned)]
    assert left == [planned[9].folder_name, *[trial.folder_name for trial in planned[2:8]]]
    with_failed = [Path(job.folder).name for job in jobs_left(folder, planned, retry_failed=True)]
    assert with_failed == [planned[9].folder_name, *[trial.folder_name for trial in planned[1:8]]]


def test_another_evaluation_leaves_everything_to_evaluate_and_names_the_same_trials(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    planned = plan_trials(EXPERIMENT)
    write(folder, planned)
    for trial in planned:
        finish(folder, trial)
    assert jobs_left(folder, planned) == []
    other = plan_trials(with_decoding(EXPERIMENT, "beam4"), known=known_trials(folder))
    assert named(other) == named(planned)
    assert len(jobs_left(folder, other)) == 10


@pytest.mark.parametrize("damage", ["result", "predictions"])
def test_a_damaged_file_makes_its_trial_unfinished(tmp_path: Path, damage: str) -> None:
    folder = SweepFolder(tmp_path)
    planned = plan_trials(EXPERIMENT)
    write(folder, planned)
    record = finish(folder, planned[0])
    path = record.result_path if damage == "result" else record.predictions_path(planned[0].trial.eval_id, "test")
    path.write_text(path.read_text().replace("a", "b"))
    assert planned[0].folder_name in {Path(job.folder).name for job in jobs_left(folder, planned)}


@pytest.mark.parametrize("most_hashed", [64, 4])
@pytest.mark.parametrize(("content", "whole"), [(b"weights", True), (b"weight", False), (None, False)])
def test_a_trial_without_its_whole_adapter_is_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, whole: bool, most_hashed: int
) -> None:
    monkeypatch.setattr("trainables.records.damage.HASHED_BYTES", most_hashed)
    folder = SweepFolder(tmp_path)
    planned = plan_trials(EXPERIMENT)
    write(folder, planned)
    record = finish(folder, planned[0])
    record.write_result(TrialResult(state="done", adapter_sha256=sha256(b"weights").hexdigest(), adapter_bytes=7))
    if content is not None:
        write_bytes(record.weights_path, content)
    left = {Path(job.folder).name for job in jobs_left(folder, planned)}
    assert (planned[0].folder_name not in left) == whole


def test_the_bytes_of_a_small_adapter_count_not_its_size_alone(tmp_path: Path) -> None:
    record = TrialRecord(tmp_path)
    record.write_result(TrialResult(state="done", adapter_sha256=sha256(b"weights").hexdigest(), adapter_bytes=7))
    write_bytes(record.weights_path, b"wEights")
    assert not adapter_is_whole(record)


@pytest.mark.parametrize(("seeds", "axes"), [(0, {}), (-1, {}), (2, {"seed": [1, 2]})])
def test_wrong_seeds_are_refused(seeds: int, axes: dict[str, list[int]]) -> None:
    with pytest.raises(UserError, match="--seeds"):
        plan_trials(with_grid(**axes), seeds=seeds)


def test_a_thousand_configurations_each_have_an_identity_of_their_own() -> None:
    base = TrainConfig(model="gpt2", data="samsum")
    many = Experiment("many", "", grid(base, seed=range(25), lora_rank=range(1, 41)), EvalConfig())
    planned = plan_trials(many)
    assert len(planned) == 1001
    assert len({trial.trial.train_id for trial in planned}) == 1001
