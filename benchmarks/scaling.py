"""`python -m benchmarks.scaling`: how the packed engine's time and memory per trial change with the number of trials.

Each number of trials is a process of its own: an engine without Ray over one base, every trial trained and evaluated
as in the makespan. Numbers beyond eight repeat the grid with other seeds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import memory, output, systems
from benchmarks.bases import OUT
from benchmarks.work import CADENCE_STEPS, Work, make_work
from sweep.cli_support import command
from sweep.cli_support.options import DeviceOption, JsonOption
from trainables.errors import UserError

COUNTS = "1,2,4,8,16,32"


def scaling(
    size: output.SizeOption = "pocket",
    precision: output.PrecisionOption = "fp32",
    trials: Annotated[str, typer.Option("--trials", help="Numbers of trials.")] = COUNTS,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps of each trial.")] = 8,
    device: DeviceOption = "auto",
    real: output.RealOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the raw measurements.")] = OUT / "scaling",
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Run more and more trials over one base, and print the time and the memory of each."""
    counts = output.numbers("--trials", trials)
    if steps < 1 or steps % CADENCE_STEPS:
        raise UserError(f"--steps must be a multiple of {CADENCE_STEPS}, the steps between evaluations, got {steps}")
    found = output.device_of(device, size)
    rows: list[dict[str, Any]] = []
    for one in output.precisions(precision):
        for count in counts:
            work = make_work(size, one, count, steps, real)
            rows.append(_measure(work, found.kind, out / size))
    facts = {"size": size, "steps": steps, "rows": rows}
    failed = any(row["wall_s"] is None for row in rows)
    output.publish(output.Findings(f"scaling --size {size}", _parts(work, rows), facts), found, results, as_json)
    return command.SOME_FAILED if failed else command.DONE


def _measure(work: Work, device: str, folder: Path) -> dict[str, Any]:
    """Run the trials of the work in a process of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = systems.plan_for("d0", work, device)
    count = len(work.trials)
    command.note(f"measuring {count} trials, {plan.precision}", style="dim")
    found = systems.measure(plan, folder / f"{count}-{plan.precision}.json")
    row: dict[str, Any] = {"trials": count, "precision": plan.precision, "wall_s": None, "peak_bytes": None}
    if found["code"]:
        return row
    started = next(one["time"] for one in found["marks"] if one["event"] == "started")
    wall = found["ended"] - started
    return row | {
        "start_s": started - found["began"],
        "wall_s": wall,
        "wall_s_per_trial": wall / count,
        "peak_bytes": found["peak_bytes"],
        "gpu_peak_bytes": found["gpu_peak_bytes"],
        "memory": found["memory"],
    }


def _parts(work: Work, rows: list[dict[str, Any]]) -> list[Any]:
    least = {row["precision"]: _held(row) for row in reversed(rows) if row["peak_bytes"]}
    first = {row["precision"]: row["trials"] for row in reversed(rows) if row["peak_bytes"]}
    lines = []
    for row in rows:
        precision = row["precision"]
        if row["wall_s"] is None:
            lines.append([precision, str(row["trials"]), *["failed"] + [""] * 4])
            continue
        more = row["trials"] - first[precision]
        each = f"{(_held(row) - least[precision]) / more / 1e6:.1f} MB" if more > 0 else ""
        lines.append(
            [
                precision,
                str(row["trials"]),
                f"{row['start_s']:.1f} s",
                f"{row['wall_s']:.1f} s",
                f"{row['wall_s_per_trial']:.2f} s",
                f"{_held(row) / 1e6:.0f} MB",
                each,
            ]
        )
    steps = work.first.max_steps
    title = f"Trials over one base, {steps} steps, 10 texts and losses every fourth; {'; '.join(work.base.notes)}"
    columns = ["precision", "trials", "until loaded", "then all done", "a trial", "peak", "each further trial"]
    kinds = sorted({row["memory"] for row in rows if row.get("memory")})
    on_gpu = any(row.get("gpu_peak_bytes") for row in rows)
    held = "the GPU, more than before" if on_gpu else f"the process, {'; '.join(kinds) or 'none measured'}"
    note = f"peak: memory of {held}, {memory.SAMPLED}."
    return [output.table(title, columns, lines), note]


def _held(row: dict[str, Any]) -> int:
    """Return the bytes on the GPU where there is one: the adapters are there."""
    return int(row["gpu_peak_bytes"] or row["peak_bytes"])


app = command.app(scaling)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.scaling"))
