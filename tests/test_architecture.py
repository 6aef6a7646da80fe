"""The floors of the house: who may import whom, and what a light command may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("sweep", "analysis", "search_spaces", "trainables")
TORCH_MODULES = {"torch", "transformers", "peft", "bitsandbytes", "accelerate"}

# What each room may use of the others; the torch-free modules of trainables are checked by importing them below.
ALLOWED = {
    "sweep": {"analysis", "search_spaces", "trainables"},
    "analysis": {"trainables"},
    "search_spaces": {"trainables"},
    "trainables": set(),
}


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Return (module, at module level) for every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append((node.module, id(node) in top))
    return found


def modules_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    wrong = []
    for path in modules_of(room):
        for module, _ in imports_of(path):
            other = module.split(".")[0]
            if other in ROOMS and other != room and other not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_ray_is_imported_in_sweep_alone_and_torch_in_trainables_alone() -> None:
    wrong = []
    for room in ROOMS:
        for path in modules_of(room):
            for module, _ in imports_of(path):
                package = module.split(".")[0]
                if package == "ray" and room != "sweep":
                    wrong.append(f"{path.relative_to(ROOT)} imports {module}")
                if package in TORCH_MODULES and room != "trainables":
                    wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_nothing_that_is_installed_imports_the_benchmarks() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for room in ROOMS
        for path in modules_of(room)
        for module, _ in imports_of(path)
        if module.split(".")[0] == "benchmarks"
    ]
    assert wrong == []


def test_search_spaces_use_the_configuration_types_alone() -> None:
    allowed = {"trainables.config", "trainables.errors", "trainables.prompts"}
    wrong = [
        f"{path.name} imports {module}"
        for path in modules_of("search_spaces")
        for module, _ in imports_of(path)
        if module.startswith("trainables") and module not in allowed
    ]
    assert wrong == []


def test_imports_at_module_level_have_no_circles() -> None:
    edges: dict[str, set[str]] = {}
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for room in ROOMS for path in modules_of(room)}
    for room in ROOMS:
        for path in modules_of(room):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            edges[name] = {module for module, top in imports_of(path) if top and module in names}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in done:
            return
        for other in edges[name]:
            visit(other, (*way, name))
        done.add(name)

    for name in edges:
        visit(name, ())


LIGHT = [
    "trainables.config",
    "trainables.data",
    "trainables.ends",
    "trainables.files",
    "trainables.fingerprint",
    "trainables.jobs",
    "trainables.machine",
    "trainables.lineage",
    "trainables.metrics",
    "trainables.plausible.prompts",
    "trainables.plausible.settings",
    "trainables.plausible.splits",
    "trainables.pocket",
    "trainables.record",
    "trainables.rescore",
    "trainables.shapes",
    "trainables.sources",
    "trainables.tokens",
    "trainables.whole",
    "trainables.widths",
    "trainables.workload",
    "search_spaces.experiment",
    "search_spaces.grid_2x2x2",
    "analysis.report",
    "sweep.member",
    "sweep.population",
    "sweep.trial",
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


def test_no_module_is_far_over_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for room in (*ROOMS, "tests", "benchmarks")
        for path in modules_of(room)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 420
    }
    assert long == {}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports them by it, and refuses to collect the second."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
