"""`python -m benchmarks.decision`: what a decision costs, in this project and in what people use without it.

Sixteen configurations (prompt x rank x rate), of which some are near ties and several poor; each system runs until its
choice stands, in processes of its own. Seeds are the outer loop, so that what disturbs the machine disturbs all systems
alike. Every decision is kept at once as JSON and is not made again by the next command unless `--again` says so.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import output
from benchmarks.bases import OUT
from benchmarks.deciding import tables
from benchmarks.deciding.systems import SYSTEMS, Cost, decide, kept_decision
from benchmarks.deciding.task import HELD_OUT, make_task
from benchmarks.deciding.truth import truth_of
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from trainables.errors import UserError, one_of

QUICK = {"configurations": 4, "steps": 8, "held_out": 16, "looked_at": 8, "reported_on": 8}


def decision(
    size: Annotated[str, typer.Option("--size", help="pocket (bundled) or gpt2 (124M).")] = "pocket",
    wanted: Annotated[str, typer.Option("--systems", help=f"Which of {', '.join(SYSTEMS)}.")] = ",".join(SYSTEMS),
    seeds: Annotated[int, typer.Option("--seeds", help="Decisions of each system.")] = 3,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="The first of these seeds.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="All of it in little: four configurations of 8 steps.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Decide anew also what is kept.")] = False,
    kept: Annotated[bool, typer.Option("--kept", help="Decide nothing; tell what is kept.")] = False,
    real: output.RealOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of truth, data and decisions.")] = OUT / "decision",
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Let each system decide on the same configurations, and compare costs and choices."""
    if size not in ("pocket", "gpt2"):
        raise UserError(f"--size must be pocket or gpt2, got {size!r}")
    chosen = [one_of("--systems", one.strip(), SYSTEMS) for one in wanted.split(",")]
    output.positive("--seeds", seeds)
    found = output.device_of("cpu", size)
    folder = out / (f"{size}-quick" if quick else size)
    folder.mkdir(parents=True, exist_ok=True)
    little: dict[str, Any] = {name: value for name, value in QUICK.items() if name != "held_out"} if quick else {}
    points: dict[str, float] | None = None
    costs: dict[str, list[Cost]] = {system: [] for system in chosen}
    for seed in range(first_seed, first_seed + seeds):
        task = make_task(size, seed, folder, real=real, **little)
        if points is None and size == "pocket":
            points = truth_of(task, folder, QUICK["held_out"] if quick else HELD_OUT)
        for system in chosen:
            cost = None if again else kept_decision(system, task, folder)
            if cost is None and not kept:
                command.note(f"({system}), seed {seed}", style="dim")
                cost = decide(system, task, folder)
            costs[system] += [cost] if cost is not None else []
    rows = tables.rows_of(costs, points)
    first = tables.leading(costs)
    title = f"{len(task.work.trials)} configurations of {task.work.first.max_steps} steps; {task.work.base.notes[0]}"
    parts = [
        tables.table_of(title, rows),
        *([tables.truth_table(points)] if points else []),
        "\n".join(tables.notes_of(rows, first)),
    ]
    facts = {
        "size": size,
        "compared_with": first,
        "systems": {system: asdict(row) for system, row in rows.items()},
        "decisions": [asdict(one) for found in costs.values() for one in found],
        "truth": points,
    }
    options = "".join(f" {name}" for name in (f"--size {size}", *(["--quick"] if quick else [])))
    output.publish(
        output.Findings(f"decision{options} --systems {','.join(chosen)} --seeds {seeds}", parts, facts),
        found,
        results,
        as_json,
    )
    return command.DONE


app = command.app(decision)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.decision"))
