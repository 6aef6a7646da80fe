"""The README as a new user takes it: every command of it runs, in its order, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import sweep.eval
import sweep.plan
import sweep.run
from analysis.compare import compare

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line]


def test_the_readme_holds_commands_an_experiment_and_a_table() -> None:
    assert {"make sweep", "make test"} <= set(commands())
    assert len(blocks("python")) == 1
    assert "zero-shot v1" in README


def test_make_runs_what_the_readme_says() -> None:
    for target, words in (("sweep", "-m sweep.run grid_2x2x2"), ("test", "-m pytest")):
        shown = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert words in shown


def test_every_folder_of_the_tree_is_there_and_has_its_line() -> None:
    tree = next(block for block in blocks("text") if block.startswith("sweep/"))
    named = [line.split()[0].rstrip("/") for line in tree.splitlines()]
    assert [name for name in named if not (ROOT / name).is_dir()] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(named)


def options() -> list[str]:
    """Every option of the verbs that compute, as a row of the README's table, from what typer knows of it."""
    found: dict[str, tuple[str, list[str]]] = {}
    for verb, app in (("run", sweep.run.app), ("plan", sweep.plan.app), ("eval", sweep.eval.app)):
        for one in typer.main.get_command(app).params:
            if one.param_type_name != "option":
                continue
            default = "" if one.default in (None, False) else f" Default: `{one.default}`."
            said, verbs = found.setdefault(one.opts[0], (f"{one.help}{default}", []))
            assert said == f"{one.help}{default}", f"{one.opts[0]} of {verb} says something else than of {verbs[0]}"
            verbs.append(verb)
    return [f"| `{option}` | {', '.join(verbs)} | {said} |" for option, (said, verbs) in found.items()]


def test_the_table_of_options_is_what_help_says() -> None:
    shown = re.findall(r"^\| `--.*$", README, flags=re.MULTILINE)
    assert shown == options(), "the table should be:\n" + "\n".join(options())


def test_the_sample_table_fits_a_narrow_terminal() -> None:
    sample = next(block for block in blocks("text") if block.startswith("grid_2x2x2"))
    assert max(map(len, sample.splitlines())) <= 100


def the_winner_reads_its_input(run: Path) -> None:
    """A model that ignores the dialogue beats zero-shot too: the other two are what tells."""
    differences = {one.role: one for one in compare(run).differences if one.metric == "rougeL"}
    for role in ("baseline", "constant", "shuffled"):
        assert differences[role].paired.low > 0, differences[role]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_command_runs_in_the_order_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "my_grid.py").write_text(blocks("python")[0], encoding="utf-8")
    (tmp_path / "analysis").mkdir()  # a user's own folder of the same name as one of ours
    (tmp_path / "analysis" / "__init__.py").write_text("raise ImportError('the wrong analysis')\n")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands():
        if command == "make test":
            continue  # this very test
        words = shlex.split(command.replace("make sweep", "python -m sweep.run grid_2x2x2"))
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if command == "make sweep":
            the_winner_reads_its_input(tmp_path / "runs/grid_2x2x2")
    assert (tmp_path / "best_adapter" / "adapter_model.safetensors").exists()
    assert "from trainables.pocket import model_folder" in (tmp_path / "best_adapter" / "README.md").read_text()
    assert (tmp_path / "runs/grid_2x2x2/report/index.html").exists()
    assert len(list((tmp_path / "runs/grid_2x2x2/trials").iterdir())) == 12
