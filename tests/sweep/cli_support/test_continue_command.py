"""The line that continues a sweep: one line, pasted into a shell, for where the folder stands; and all that made it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from finished_sweep import OWN, make_finished_place

from sweep.cli import main
from sweep.cli_support import continue_command
from sweep.environment.provenance import command_line
from sweep.request.commit import commit
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.records import atomic_files
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

OUT = Path("runs/own")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_finished_place(tmp_path, monkeypatch)


def said_by(*arguments: str, **environment: str) -> str:
    """Run a verb in a process of its own, as in a pipe, and return what it says."""
    code = f"import sys; from sweep.cli import main; sys.exit(main({list(arguments)!r}))"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False)
    return done.stdout + done.stderr


def words_in_shell(line: str) -> list[str]:
    """Return the words that a shell makes of a line."""
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(show)} {line}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(json.loads(done.stdout))


def ask(*arguments: str, out: Path = OUT) -> None:
    """Write what a run with these arguments writes before it launches."""
    wanted = request("own.py", Changes())
    how = RunOptions(out.absolute(), command=command_line("run", arguments), experiment_file=("own.py", OWN))
    commit(prepare(wanted, how, sweep_to_extend(wanted, how)), SweepFolder(how.out))


def line_of(folder: Path) -> list[str]:
    return words_in_shell(continue_command.line(SweepFolder(folder.absolute())))[1:]


def pend(folder: Path = OUT) -> None:
    next(folder.glob("trials/*-A-*/result.json")).unlink()


@pytest.mark.parametrize("width", ["20", ""])
def test_the_line_is_one_line_however_narrow_the_terminal_and_keeps_its_quotes(place: Path, width: str) -> None:
    arguments = ["own.py", "--data", "it's mine, and long enough for a break.csv", "prompt=a\nb\t\\n", "--seeds", "1"]
    ask(*arguments)
    pend()
    lines = said_by("status", "own", COLUMNS=width).splitlines()
    (line,) = [one.removeprefix("continue with: ") for one in lines if one.startswith("continue with: ")]
    assert words_in_shell(line)[1:] == ["-m", "sweep.run", *arguments]


@pytest.mark.parametrize("given", [[], ["--out", "runs/own"], ["--out=runs/own"]])
def test_the_line_names_the_folder_that_the_sweep_stands_in_now(
    place: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("own.py", *given, "--retry-failed", "lora_rank=2,4")
    typed = ["-m", "sweep.run", "own.py", *given, "lora_rank=2,4"]
    assert line_of(OUT) == typed
    bare = [part for part in typed if part not in given]
    shutil.copytree(OUT, "runs/own copy")
    assert line_of(Path("runs/own copy")) == [*bare, "--out", "runs/own copy"]
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert line_of(place / "runs/own copy") == [*bare, "--out", str(place / "runs/own copy")]
    assert line_of(place / "runs/own") == [*bare, "--out", str(place / "runs/own")]
    shutil.copytree(place / "runs/own", "runs/own")
    assert line_of(Path("runs/own")) == typed
    pend(Path("runs/own"))
    assert "its experiment file own.py is not here: sweep.json has its text" in said_by("status", "own")


def test_the_line_of_a_copy_continues_the_copy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask("own.py")
    shutil.copytree(OUT, "copy")
    before = (place / OUT / "sweep.json").read_bytes()
    assert main(["run", *line_of(Path("copy"))[2:], "--metric", "rouge1"]) == 0
    assert SweepFolder(Path("copy")).manifest().metric == "rouge1"
    assert (place / OUT / "sweep.json").read_bytes() == before


def test_an_old_sweep_says_where_it_stands(place: Path) -> None:
    folder = SweepFolder(OUT.absolute())
    sweep = atomic_files.read_json(folder.sweep_path)
    old = {key: value for key, value in sweep.items() if key not in ("commands", "experiment_files")}
    atomic_files.write_json(folder.sweep_path, {**old, "command": "python -m sweep.run own.py"})
    assert line_of(OUT) == ["-m", "sweep.run", "own.py", "--out", "runs/own"]


@pytest.mark.slow
def test_every_command_that_changed_the_sweep_is_kept_with_the_text_of_its_experiment(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["run", "own.py", "--metric", "rouge1"], ["run", "own.py", "--metric", "rouge1"]):
        monkeypatch.setattr(sys, "argv", ["sweep", *arguments[1:]])
        assert main(arguments) == 0
    Path("own.py").write_text(OWN + "# more\n", encoding="utf-8")
    arguments = ["eval", "own", "--metrics", "rouge,chrf"]
    monkeypatch.setattr(sys, "argv", ["sweep", *arguments[1:]])
    assert main(arguments) == 0
    ask("own.py", "lora_rank=2,4")
    sweep = SweepFolder(OUT.absolute()).manifest()
    kept = [one.command for one in sweep.commands]
    assert kept == [
        "python -m sweep.run own.py",  # of the sweep as it was written
        "python -m sweep.run own.py --metric rouge1",
        "python -m sweep.eval own --metrics rouge,chrf",
        "python -m sweep.run own.py lora_rank=2,4",
    ]
    assert set(sweep.experiment_files.values()) == {OWN}
    assert sweep.command == kept[-1]


def test_trials_without_memory_are_named_with_what_runs_them_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask("own.py")
    (path,) = OUT.glob("trials/*-A-*")
    TrialRecord(path.absolute()).write_result(TrialResult(state="oom", cause="out of memory"))
    assert main(["plan", "own.py", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert ([row["state"] for row in plan["trials"]], plan["left"]) == (["oom", "done", "done"], 0)
    again = "1 oom: such trials run again only with --retry-failed:"
    assert any(again in note for note in plan["notes"])
    said = said_by("status", "own")
    assert "continue with" not in said
    (line,) = [line for line in said.splitlines() if line.startswith(again)]
    words = words_in_shell(line.removeprefix(again))
    assert words[1:] == ["-m", "sweep.run", "own.py", "--retry-failed"]
    assert main(["run", "own.py"]) == 1
    assert again in capsys.readouterr().err
    wanted = request("own.py", Changes())
    how = replace(RunOptions(OUT.absolute()), retry_failed="--retry-failed" in words)
    stored = sweep_to_extend(wanted, how)
    assert stored is not None
    assert [job.folder for job in stored.left] == [str(path.absolute())]
