"""`python -m benchmarks.makespan`: the same grid to its end through this project and through its peers.

All do the same work: the configurations of grid_2x2x2 over the same examples, in the same order, from the same first
weights, with the loss of ten examples and their texts (60 new tokens, greedy) after every fourth step. Each system runs
in processes of its own, from the command to its end, and what was measured of it is kept at once as JSON, so that a
run that fails loses nothing of the others; `--reuse` takes what is kept.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median_low
from typing import Annotated, Any

import typer

from benchmarks import comparison, output, systems, timeline
from benchmarks.bases import LARGE, OUT
from benchmarks.comparison import Outcome
from benchmarks.systems import CARDS, SYSTEMS, Plan
from benchmarks.work import CADENCE_STEPS, make_work
from sweep.cli_support import command
from sweep.cli_support.options import DeviceOption, JsonOption
from trainables.errors import UserError, one_of
from trainables.records import atomic_files

TRIALS = (1, 2, 4, 8)  # of the grid, which its axes can express
LARGE_PEER_STEPS = 8


def makespan(
    size: output.SizeOption = "pocket",
    precision: output.PrecisionOption = "fp32,bf16",
    wanted: Annotated[str, typer.Option("--systems", help="Which of a, b, c, d, d0, e, f.")] = ",".join(SYSTEMS),
    trials: Annotated[int, typer.Option("--trials", help="Configurations: 1, 2, 4 or 8.")] = 8,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps of each.")] = 32,
    peer_steps: Annotated[
        int | None,
        typer.Option("--peer-steps", help="Measured steps of a peer's first trials, then extended; 0: measured whole."),
    ] = None,
    at_a_time: Annotated[str, typer.Option("--at-a-time", help="Trials of (a) at a time; the better counts.")] = "1,2",
    repeats: Annotated[
        int, typer.Option("--repeats", help="Runs of every system, interleaved; the median counts.")
    ] = 1,
    card: Annotated[
        str | None, typer.Option("--card", help="t4: this GPU as if it were a T4 (fp16, 14.7 GiB, 2 CPU cores).")
    ] = None,
    reuse: Annotated[bool, typer.Option("--reuse", help="Take measurements of the same work that are kept.")] = False,
    device: DeviceOption = "auto",
    real: output.RealOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the raw measurements.")] = OUT / "makespan",
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Run the same grid through this project and its peers, and compare their times, memory and losses."""
    chosen = [one_of("--systems", one.strip(), SYSTEMS) for one in wanted.split(",")]
    measured_steps = _check(size, trials, steps, peer_steps)
    output.positive("--repeats", repeats)
    lanes = output.numbers("--at-a-time", at_a_time)
    found = output.device_of(device, size)
    assumed = CARDS[one_of("--card", card, CARDS)] if card is not None else None
    if assumed is not None:
        precision = assumed.precision
        if found.kind == "cpu":
            raise UserError(f"--card {card} needs a GPU, of which it takes a part; none is here")
    folder = out / (size if card is None else f"{size}-{card}")
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, dict[str, Outcome]] = {}
    for one in output.precisions(precision):
        work = make_work(size, one, trials, steps, real)
        plans = [
            systems.plan_for(system, work, found.kind, lane, measured_steps, assumed)
            for system in chosen
            if found.kind != "cpu" or system not in systems.NEED_GPU
            for lane in (lanes if system == "a" else [1])
        ]
        outcomes[one] = _best(chosen, measure_all(plans, folder, repeats, reuse))
    facts = comparison.facts_of(size, outcomes)
    parts: list[Any] = [part for one, rows in outcomes.items() for part in comparison.tables(work, one, rows)]
    parts.append("\n".join(comparison.notes(work, outcomes)))
    name = f"makespan --size {size}" + (f" --card {card}" if card else "")
    output.publish(output.Findings(name, parts, facts), found, results, as_json)
    failed = any(one.plan is not None and one.times is None for rows in outcomes.values() for one in rows.values())
    return command.SOME_FAILED if failed else command.DONE


def _check(size: str, trials: int, steps: int, peer_steps: int | None) -> int:
    """Return how many steps of a peer to measure, 0 for all; raises UserError."""
    if trials not in TRIALS:
        raise UserError(f"--trials must be one of {', '.join(map(str, TRIALS))}, got {trials}")
    if steps < 1 or steps % CADENCE_STEPS:
        raise UserError(f"--steps must be a multiple of {CADENCE_STEPS}, the steps between evaluations, got {steps}")
    if peer_steps is None:
        return LARGE_PEER_STEPS if size in LARGE else 0
    least = systems.least_peer_steps()
    if peer_steps and (peer_steps < least or peer_steps % CADENCE_STEPS):
        raise UserError(f"--peer-steps must be 0 or a multiple of {CADENCE_STEPS} from {least}, got {peer_steps}")
    return peer_steps


def measure_all(plans: list[Plan], folder: Path, repeats: int, reuse: bool) -> list[Outcome]:
    """Measure every plan `repeats` times, one after another, and return the median of each."""
    runs: dict[str, list[Outcome]] = {plan.key: [] for plan in plans}
    for number in range(1, repeats + 1):
        for plan in plans:
            path = folder / f"{plan.key}-{number}.json"
            kept = atomic_files.read_json_if_whole(path) if reuse else None
            if kept is None or kept["identity"] != plan.identity or kept["code"]:
                command.note(f"measuring {plan.key}, run {number} of {repeats}", style="dim")
                kept = systems.measure(plan, path)
            runs[plan.key].append(outcome_of(plan, kept, path))
    return [_median(runs[plan.key]) for plan in plans]


def outcome_of(plan: Plan, found: dict[str, Any], path: Path) -> Outcome:
    """Judge a measurement."""
    losses = timeline.losses(found["marks"])
    expected = len(plan.chosen) * plan.steps // CADENCE_STEPS
    if found["code"] or len(losses) < expected:
        note = f"{plan.key} failed: exit {found['code']}, {len(losses)} of {expected} evaluations"
        command.note(f"{note}; see {path.with_suffix('.log')}", style="red")
        return Outcome(plan, None, losses=losses, reason="failed")
    times, gpu_bytes = systems.times_of(plan, found), found.get("gpu_peak_bytes")
    return Outcome(plan, times, found["peak_bytes"], found["memory"], losses, gpu_peak_bytes=gpu_bytes)


def _median(runs: list[Outcome]) -> Outcome:
    whole = [one for one in runs if one.times is not None]
    if not whole:
        return runs[0]
    middle = median_low([one.times.wall_s for one in whole if one.times is not None])
    return next(one for one in whole if one.times is not None and one.times.wall_s == middle)


def _best(chosen: list[str], outcomes: list[Outcome]) -> dict[str, Outcome]:
    """Return one outcome per system: of (a) the faster way."""
    found: dict[str, Outcome] = {}
    for system in SYSTEMS:
        own = [one for one in outcomes if one.plan is not None and one.plan.system == system]
        whole = [one for one in own if one.times is not None]
        if whole:
            found[system] = min(whole, key=lambda one: one.times.wall_s if one.times is not None else 0.0)
        elif own:
            found[system] = own[0]
        else:
            reason = "needs a GPU" if system in systems.NEED_GPU and system in chosen else "not asked for"
            found[system] = Outcome(None, None, reason=f"not measured: {reason}")
    return found


app = command.app(makespan)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.makespan"))
