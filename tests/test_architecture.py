"""The shape of the code: who may import whom, what a light command may load, and how long a file may be."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweep", "analysis", "search_spaces", "trainables")


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_who_imports_whom_is_as_the_contracts_say() -> None:
    """The contracts stand in setup.cfg; imports inside functions and for type checks count."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_room_of_sweep_stands_in_the_contract() -> None:
    """Its verbs need not: a room that imports one is a circle."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = contracts["importlinter:contract:sweep"]["layers"]
    assert set(re.findall(r"\w+", layers)) == {path.parent.name for path in (ROOT / "sweep").glob("*/__init__.py")}


def test_no_class_of_the_product_has_the_name_of_another() -> None:
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in modules_of(package):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_every_room_says_what_it_is_for() -> None:
    silent = [
        str(path.parent.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
        if not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
    ]
    assert silent == []


# So many modules may lie directly in a package; more belong into its rooms.
MOST_MODULES = {"sweep": 17, "analysis": 12, "trainables": 16}


@pytest.mark.parametrize("package", MOST_MODULES)
def test_a_package_is_no_heap(package: str) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= MOST_MODULES[package]


LIGHT = [
    "trainables.config",
    "trainables.data.corpus",
    "trainables.data.load_corpus",
    "trainables.tokenization.end_tokens",
    "trainables.records.atomic_files",
    "trainables.model_files.fingerprint",
    "trainables.jobs",
    "trainables.hardware.machine",
    "trainables.records.lineage",
    "trainables.metric_table",
    "trainables.scoring.metrics",
    "trainables.sanity_checks.prompt_rows",
    "trainables.sanity_checks.settings",
    "trainables.sanity_checks.splits",
    "trainables.pocket",
    "trainables.records.record",
    "trainables.scoring.rescore",
    "trainables.model_files.layer_shapes",
    "trainables.data.sources",
    "trainables.tokenization.prompt_lengths",
    "trainables.tokenization.token_rows",
    "trainables.model_files.completeness",
    "trainables.packed.pack_size",
    "trainables.packed.workload",
    "search_spaces.experiment",
    "search_spaces.grid_2x2x2",
    "analysis.report",
    "sweep.ray_driver.pbt.tune_trial",
    "sweep.ray_driver.pbt.groups",
    "sweep.ray_driver.tune_trial",
    *[f"sweep.{verb}" for verb in ("run", "plan", "status", "best", "list", "doctor", "eval", "show", "cli")],
]


def test_light_modules_load_neither_torch_nor_ray() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'ray', 'transformers', 'datasets'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_module_is_over_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in (*PACKAGES, "tests", "benchmarks")
        for path in modules_of(package)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by it, and refuses to collect the second."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
