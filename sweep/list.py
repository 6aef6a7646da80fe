"""`sweep list`: the experiments that can be run and the sweeps that are under runs/ (no torch, no ray)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search_spaces.experiment import built_in, load_experiment
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from trainables.records.atomic_files import DamagedFile
from trainables.records.record import SweepFolder


def list_all(as_json: JsonOption = False) -> None:
    """List the built-in experiments and the sweeps under runs/."""
    experiments = [_experiment(name) for name in built_in()]
    sweeps = sweeps_and_progress()
    if as_json:
        command.print_json({"experiments": experiments, "sweeps": sweeps})
        return
    console = command.results()
    console.print("Experiments (sweep run NAME, or a Python file with `experiment = Experiment(...)`):")
    for experiment in experiments:
        needs = "; needs a GPU" if experiment["needs_gpu"] else ""
        console.print(f"  {experiment['name']:<20}{experiment['description']}{needs}")
    if sweeps:
        print_sweeps(sweeps)


def sweeps_and_progress() -> list[dict[str, Any]]:
    """Return the sweeps under runs/ and how far each is, as JSON values."""
    return [_sweep(path) for path in command.sweeps_here()]


def print_sweeps(sweeps: Sequence[dict[str, Any]]) -> None:
    """Print a line for each sweep."""
    console = command.results()
    console.print("Sweeps:")
    for sweep in sweeps:
        console.print(f"  {sweep['folder']:<20}  {sweep['about']}")


def _experiment(name: str) -> dict[str, Any]:
    experiment = load_experiment(name)
    space = experiment.search
    return {
        "name": name,
        "description": experiment.description,
        "configurations": space.trials if space else len(experiment.configurations()),
        "is_search": space is not None,
        "needs_gpu": experiment.needs_gpu,
    }


def _sweep(path: Path) -> dict[str, Any]:
    folder = SweepFolder(path)
    records = folder.records()
    done = sum(record.result_path.exists() for record in records)
    try:
        resolved = folder.manifest().resolved
        about = f"{done} of {len(records)} trials ended; {resolved.model.label} on {resolved.data.label}"
    except DamagedFile as error:
        about = str(error)
    return {"folder": str(path), "trials": len(records), "ended": done, "about": about}


app = command.app(list_all)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep list", arguments)


if __name__ == "__main__":
    sys.exit(main())
