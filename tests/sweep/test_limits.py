"""Numbers that cannot be meant are refused before anything expensive; a large plan says how far it is."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from ended_trials import end_trials
from tiny_inputs import write_data, write_model

from search_spaces.experiment import Experiment, load_experiment
from search_spaces.grid import expand, grid
from sweep import cli
from sweep.cli_support.counting import counted
from sweep.request import estimates
from sweep.request.commit import commit
from sweep.request.overrides import Changes, request, safe_name
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from sweep.request.trials import MOST_TRIALS, plan_trials
from trainables.config import EvalConfig, TrainConfig
from trainables.errors import UserError
from trainables.records.record import SweepFolder

BASE = TrainConfig(model="gpt2", data="samsum")


def test_a_hundred_thousand_seeds_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"at most 20,000 trials, got 800,000: --seeds 100000 of 8 configurations"):
        plan_trials(load_experiment("grid_2x2x2"), 100_000)


def test_a_grid_is_counted_before_it_is_expanded() -> None:
    large = grid(BASE, seed=range(10_000), data_seed=range(10_000), lora_rank=range(1, 5))
    with pytest.raises(
        UserError, match=r"at most 20,000 configurations, got 400,000,000: 10000 of seed x 10000 of data"
    ):
        expand(large)


def test_replicates_keep_their_names_and_share_their_baseline() -> None:
    experiment = Experiment("own", "", grid(BASE, lora_rank=[8, 16], prompt=["v1", "v2"]))
    planned = plan_trials(experiment, 3)
    assert [trial.name for trial in planned] == [*"ABCD" * 3, "zero-shot v1", "zero-shot v2"]
    assert len({trial.trial.train_id for trial in planned}) == len(planned) == 14 < MOST_TRIALS
    assert [trial.trial.train.seed for trial in planned[:12]] == [42] * 4 + [43] * 4 + [44] * 4


def test_what_takes_long_says_how_far_it_is() -> None:
    said = io.StringIO()
    with redirect_stderr(said):
        assert list(counted(range(3), "naming the trials", every_s=0)) == [0, 1, 2]
        assert list(counted(range(1000), "in no time", every_s=3600)) == list(range(1000))
    assert said.getvalue() == "naming the trials: 1 of 3\nnaming the trials: 2 of 3\n"


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_more_new_tokens_than_the_context_are_refused(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([verb, "grid_2x2x2", "--source", "bundled", "--max-new-tokens", "100000"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("sweep: max_new_tokens must be below 512, the tokens of prompt and summary together")
    assert not (tmp_path / "runs").exists()


def test_an_evaluation_anew_has_the_same_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    changes = Changes(
        ("lora_rank=2", "learning_rate=1e-3", "prompt=v1"), model="model", data="data", eval_examples="4,6"
    )
    folder = SweepFolder(tmp_path / "runs" / "own")
    planned = commit(prepare(request("grid_2x2x2", changes), RunOptions(out=folder.folder)), folder).planned
    end_trials(folder, planned)
    assert cli.main(["eval", "own", "--max-new-tokens", "100000"]) == 2
    assert "max_new_tokens must be below 512" in capsys.readouterr().err


def test_the_smaller_of_length_and_context_is_the_limit(tmp_path: Path) -> None:
    folder = str(write_model(tmp_path / "model"))  # a context of 512
    for length, new, limit in (
        (256, 255, None),
        (256, 256, "below 256.*max_length_tokens"),
        (1024, 512, "below 512.*context"),
    ):
        train, evaluation = BASE.model_copy(update={"max_length_tokens": length}), EvalConfig(max_new_tokens=new)
        if limit is None:
            estimates.check_new_tokens(train, evaluation, folder)
            continue
        with pytest.raises(UserError, match=limit):
            estimates.check_new_tokens(train, evaluation, folder)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("own", "own"),
        ("../../etc/x", "_.._etc_x"),
        ("..", "sweep"),
        (".hidden", "hidden"),
        ("a/b\\c:d", "a_b_c_d"),
        ("\x1b[31m\n", "_31m_"),
        ("日本", "_"),
    ],
)
def test_a_name_is_one_folder_below_runs(name: str, folder: str) -> None:
    assert safe_name(name) == folder


def test_long_names_are_cut_and_told_apart() -> None:
    one, other = safe_name("x" * 300 + "a"), safe_name("x" * 300 + "b")
    assert len(one) == len(other) == 100
    assert one != other


@pytest.mark.parametrize("option", ["--pack-width", "--engines-per-gpu"])
def test_a_width_that_cannot_be_meant_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "grid_2x2x2", option, "1000000"]) == 2
    said = capsys.readouterr().err
    assert option in said
    assert "less than or equal to" in said


@pytest.mark.parametrize("name", ["x" * 5000, "/dev/null", "/dev/null/x"])
@pytest.mark.parametrize("option", ["--model", "--data"])
def test_a_path_that_the_system_refuses_is_one_sentence(
    option: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "grid_2x2x2", "--source", "auto", "--device", "cpu", option, name]) == 2
    said = capsys.readouterr().err
    assert said.count("sweep: ") == 1
    assert name[:9] in said


def test_a_terminal_without_unicode_gets_codes_in_place_of_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["status", "日本"]) == 2
    err.flush()
    assert err.buffer.getvalue().decode().startswith(r"sweep: there is no sweep '\u65e5\u672c'")  # type: ignore[attr-defined]
