"""The command line: light, the same by both names, right from any folder; finished sweeps without torch or ray."""

from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_lines import REPORT, cli, python
from ended_trials import end_trials
from experiment_place import make_place
from typer.main import get_command

from sweep import plan
from sweep import run as run_verb
from sweep.cli import VERBS, main
from sweep.environment import lease
from sweep.request.commit import commit
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.config import EvalConfig, eval_id
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.scoring.rescore import write

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=10))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and an experiment, without a hub."""
    return make_place(tmp_path, monkeypatch, OWN)


@pytest.fixture
def finished(place: Path) -> Path:
    """A sweep that was finished here: every record as an engine writes it, without the minutes of training."""
    wanted = request("own.py", Changes())
    out = place / "runs" / "own"
    folder = SweepFolder(out)
    planned = commit(prepare(wanted, RunOptions(out=out, command="python -m sweep.run own.py")), folder).planned
    end_trials(folder, planned)
    return place


def record_of(place: Path, name: str) -> TrialRecord:
    (path,) = (place / "runs" / "own" / "trials").glob(f"*-{name}-*")
    return TrialRecord(path)


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)


# --- every verb ------------------------------------------------------------------------------------------------------


def test_help_of_every_verb_loads_nothing_heavy(tmp_path: Path) -> None:
    calls = "; ".join(f"main([{verb!r}, '--help'])" for verb in VERBS)
    done = python(f"-c\0from sweep.cli import main; {calls}; {REPORT}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: sweep ") == len(VERBS)
    assert done.stdout.splitlines()[-1] == "[]"


def test_sweep_alone_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)
    assert main([]) == 2


def test_the_console_script_is_this_command_line() -> None:
    scripts = [script for script in importlib.metadata.entry_points(group="console_scripts") if script.name == "sweep"]
    assert [script.value for script in scripts] == ["sweep.cli:main"]


def test_both_names_of_a_verb_print_the_same(tmp_path: Path) -> None:
    by_module = python("-m\0sweep.list", tmp_path)
    by_script = python(
        "-c\0import sys; from sweep.cli import main; sys.argv = ['sweep', 'list']; sys.exit(main())", tmp_path
    )
    assert by_module.stdout == by_script.stdout != ""
    assert (by_module.returncode, by_script.returncode) == (0, 0)


def test_packages_of_the_users_own_in_the_current_folder_hide_nothing(tmp_path: Path) -> None:
    for name in ("analysis", "trainables", "search_spaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')", encoding="utf-8")
    done = python("-m\0sweep.list", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "grid_2x2x2" in done.stdout


def test_no_color_is_honoured_and_asked_for_color_is_given(place: Path) -> None:
    plain = cli(place, "show", "own.py", "-n", "1", NO_COLOR="1", FORCE_COLOR="1")
    colored = cli(place, "show", "own.py", "-n", "1", FORCE_COLOR="1")
    assert "[1;32m" not in plain.stdout
    assert "\x1b[2mSummarize the dialogue." in colored.stdout
    assert "\x1b[1;32m Ann lost the lamp in the mall.\x1b[0m" in colored.stdout


# --- before a sweep --------------------------------------------------------------------------------------------------


def test_list_names_experiments_and_sweeps(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spoken(capsys, "list", "--json")
    assert {"grid_2x2x2", "phi2_qlora"} <= {experiment["name"] for experiment in found["experiments"]}
    assert [(sweep["folder"], sweep["ended"]) for sweep in found["sweeps"]] == [("runs/own", 3)]


def test_plan_counts_parameters_and_tokens_without_torch(place: Path) -> None:
    done = cli(place, "plan", "own.py", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    found = json.loads(done.stdout)
    assert (found["configurations"], found["baselines"], found["left"]) == (2, 1, 3)
    # c_attn is 32 x 96 in both layers: rank * (32 + 96) * 2
    assert [trial["trainable_parameters"] for trial in found["trials"]] == [512, 1024, 0]
    rows = json.loads(cli(place, "show", "own.py", "-n", "8", "--json").stdout)
    tokens = sum(row["prompt_tokens"] + row["trained_tokens"] for row in rows)
    assert found["trials"][0]["tokens"] == tokens * 32 * 2 * 2 / 8  # 32 steps of 2 x 2, from 8 examples
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_plan_of_a_thousand_configurations_loads_neither_torch_nor_ray(place: Path) -> None:
    seeds = ",".join(map(str, range(500)))
    done = python(f"-c\0from sweep.cli import main; main(['plan', 'own.py', 'seed={seeds}']); {REPORT}", place)
    assert "1000 configurations and 1 baselines" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_plan_takes_what_changes_the_trials_of_a_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = spoken(capsys, "plan", "own.py", "--json")
    little = spoken(capsys, "plan", "own.py", "--smoke", "--keep", "best", "--keep-leaked", "--json")
    assert little["folder"].endswith("runs/own-smoke")
    assert little["tokens"] < whole["tokens"]
    trained = [{row["train_id"] for row in found["trials"] if row["trainable_parameters"]} for found in (whole, little)]
    assert trained[0].isdisjoint(trained[1])
    trusting = spoken(capsys, "plan", "own.py", "--trust-remote-code", "--json")
    assert trusting["trials"] == whole["trials"]


def test_plan_has_every_option_of_run_that_is_not_about_running() -> None:
    of_running = {"scheduler", "max_concurrent", "time_budget", "engine", "engines_per_gpu", "address"}
    of_running |= {"retry_failed", "fresh"}
    planned, run = ({one.name for one in get_command(verb.app).params} for verb in (plan, run_verb))
    assert run - planned == of_running


def test_plan_predicts_time_from_what_was_measured(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spoken(capsys, "plan", "own.py", "--seeds", "2", "--json")
    assert found["left"] == 2
    assert found["time_s"] == pytest.approx(24.0)
    assert [trial["state"] for trial in found["trials"]] == ["done", "done", "new", "new", "done"]


def test_show_tells_what_is_masked_trained_and_cut(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = spoken(capsys, "show", "own.py", "-n", "2", "--json")
    assert len(rows) == 2
    for row in rows:
        assert row["masked"].startswith("Summarize the dialogue.\n\n")
        assert row["masked"].endswith("\n\nSummary:")
        assert row["trained"].startswith(" ")
        assert row["ends_with"] == "<|endoftext|>"
        assert row["prompt_tokens"] + row["trained_tokens"] == len(row["masked"]) + len(row["trained"]) + 1
    main(["show", "own.py", "-n", "1"])
    assert "⏎<|endoftext|>" in capsys.readouterr().out


def test_doctor_names_versions_device_and_disk(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] == importlib.metadata.version("torch")
    assert found["device"].startswith("device: ")
    assert found["disk_free_bytes"] > 0
    assert found["hub"]["reachable"] is False


# --- a finished sweep ------------------------------------------------------------------------------------------------


def test_a_finished_sweep_prints_its_table_without_torch_or_ray_and_writes_nothing(finished: Path) -> None:
    cli(finished, "run", "own.py")  # the first time makes the reference rows
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*") if path.is_file()}
    done = cli(finished, "run", "own.py")
    assert done.returncode == 0, done.stderr
    assert "Best: B" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"
    assert {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*") if path.is_file()} == before


def test_a_finished_sweep_is_shown_under_the_evaluation_that_is_asked_for(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = spoken(capsys, "run", "own.py", "--json")
    folder = SweepFolder(finished / "runs" / "own")
    other = EvalConfig.model_validate({**folder.manifest().evaluation, "max_new_tokens": 9})
    for record in folder.records():
        rows = {split: record.predictions(first["eval_id"], split) for split in other.examples}
        write(record, other, rows, 1.0)
    for options, wanted in ((("--max-new-tokens", "9"), eval_id(other)), ((), first["eval_id"])):
        assert spoken(capsys, "run", "own.py", *options, "--json")["eval_id"] == wanted
        assert folder.manifest().eval_id == wanted


def test_a_sweep_with_a_failed_trial_ends_with_1(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "own.py"]) == 0
    record_of(finished, "A").write_result(TrialResult(state="diverged", cause="loss is not finite at step 3"))
    assert main(["run", "own.py"]) == 1
    assert "diverged" in capsys.readouterr().out


def test_json_of_a_run_is_json_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = spoken(capsys, "run", "own.py", "--json")
    assert found["best"]["name"] == "B"
    assert found["folder"] == str(finished / "runs" / "own")


def test_status_tells_states_progress_and_who_is_writing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record_of(finished, "A").result_path.unlink()
    record_of(finished, "A").append_metrics({"kind": "eval", "step": 4, "eval_loss": 2.5})
    found = spoken(capsys, "status", "own", "--json")
    assert found["states"] == {"done": 2, "pending": 1}
    assert found["written_by"] is None
    held = lease.acquire(finished / "runs" / "own")
    try:
        found = spoken(capsys, "status", "runs/own", "--json")
    finally:
        held.release()
    assert found["states"] == {"done": 2, "running": 1}
    assert found["written_by"]["pid"] == os.getpid()
    first = found["trials"][0]
    assert (first["step"], first["eval_loss"]) == (4, 2.5)


def test_best_exports_the_adapter_with_a_card_that_says_how_it_was_chosen(finished: Path) -> None:
    done = cli(finished, "best", "own", "--export", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    source = record_of(finished, "B").adapter_folder
    out = finished / "out"
    assert (out / "adapter_model.safetensors").read_bytes() == (source / "adapter_model.safetensors").read_bytes()
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "model"
    card = (out / "README.md").read_text(encoding="utf-8")
    for part in ("best of 2 configurations by ROUGE-L on validation", "validation (n = 6) | test (n = 10)"):
        assert part in card
    for part in ("zero-shot v1", "95% interval", "| lora_rank | `4` |", "torch 2", "fingerprint"):
        assert part in card
    assert str(finished) not in card


def test_best_refuses_a_full_folder_and_a_damaged_adapter(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["best", "own", "--export", "data"]) == 2
    assert "--export data must be a folder that is absent or empty" in capsys.readouterr().err
    weights = record_of(finished, "B").adapter_folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert main(["best", "own", "--export", "out"]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not (finished / "out").exists()


def test_damaged_examples_are_named_until_a_run_has_written_them_anew(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / "runs/own/data/test.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Ann", b"Bob", 1))
    for arguments in (["eval", "own", "--metrics", "rouge,chrf"], ["report", "runs/own"], ["best", "own"]):
        assert main(arguments) == 2
        assert "data/test.jsonl is damaged: its checksum is not the one in sweep.json" in capsys.readouterr().err
    assert main(["run", "own.py"]) == 0
    assert path.read_bytes() == whole
    assert main(["best", "own"]) == 0


@pytest.mark.slow
def test_new_text_metrics_come_from_stored_predictions_without_a_model(finished: Path) -> None:
    done = cli(finished, "eval", "own", "--metrics", "rouge,rouge_pr,chrf,bleu", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    found = json.loads(done.stdout)
    assert all(found["rows"][-1][name] > 0 for name in ("chrf", "bleu", "rougeL_precision", "rougeL_recall_unstemmed"))
    assert all(len(TrialRecord(path).evaluation_ids()) == 2 for path in (finished / "runs/own/trials").iterdir())
    assert found["eval_id"] != SweepFolder(finished / "runs/own").manifest().eval_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--decoding beam", "--decoding 'beam' is unknown; did you mean 'beam4'?"),
        ("--split tst", "--split 'tst' is unknown; did you mean 'test'?"),
        ("--examples 500", "--examples must be at most 12, the validation examples that the sweep keeps, got 500"),
        ("--metrics rouge,meteor", "--metrics 'meteor' is unknown"),
        ("--engine packd --decoding beam4", "--engine 'packd' is unknown; did you mean 'packed'?"),
        ("--metric rougel", "--metric 'rougel' is unknown; did you mean 'rougeL'?"),
    ],
)
def test_a_wrong_evaluation_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert main(["eval", "own", *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_refused_run_leaves_what_was_there_before(finished: Path) -> None:
    out = finished / "runs" / "own"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "lease" not in path.name}
    done = cli(finished, "run", "own.py", "lora_rank=2,4,8", "--address", "127.0.0.1:1")
    assert "nothing answers there" in done.stderr
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "sweep.json")


@pytest.mark.slow
def test_an_evaluation_joins_the_cluster_that_it_is_given(finished: Path) -> None:
    done = cli(finished, "eval", "own", "--decoding", "beam4", "--engine", "packed", "--address", "127.0.0.1:1")
    assert done.returncode == 2
    assert "3 trials on the CPUs of a Ray cluster" in done.stderr
    assert "engine packed" in done.stderr
    assert "--address '127.0.0.1:1': nothing answers there" in done.stderr


# --- the whole way ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_continues_extends_and_evaluates_anew_without_repeating_anything(place: Path) -> None:
    little = ["own.py", "max_steps=2", "--eval-examples", "2,3", "--max-new-tokens", "8"]
    first = cli(place, "run", *little, "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["best"]["name"] in ("A", "B")
    results = {path: path.stat().st_mtime_ns for path in (place / "runs/own").glob("trials/*/result.json")}
    assert len(results) == 3
    more = cli(place, "run", *little, "lora_rank=2,4,8")
    assert more.returncode == 0, more.stderr
    assert len(list((place / "runs/own/trials").iterdir())) == 4
    anew = cli(place, "eval", "own", "--decoding", "beam4", "--split", "test", "--json")
    assert anew.returncode == 0, anew.stderr
    assert json.loads(anew.stdout)["evaluation"]["decoding"]["num_beams"] == 4
    assert {path: path.stat().st_mtime_ns for path in results} == results
    weights = record_of(place, "A").weights_path
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    redone = cli(place, "run", *little)
    assert redone.returncode == 0, redone.stderr
    assert weights.read_bytes() == whole
    changed = [path for path in results if path.stat().st_mtime_ns != results[path]]
    assert changed == [record_of(place, "A").result_path]
