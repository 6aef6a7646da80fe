"""`python -m benchmarks.makespan`: the same grid to its end through this project and through its peers.

All do the same work: the configurations of grid_2x2x2 over the same examples, in the same order, from the same first
weights, with the loss of ten examples and their texts (60 new tokens, greedy) after every fourth step. Each system runs
in processes of its own, from the command to its end, and what was measured of it is kept at once as JSON, so that a
run that fails loses nothing of the others; `--reuse` takes what is kept.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Annotated, Any

import typer

from benchmarks import output, systems, timeline
from benchmarks.systems import SYSTEMS, Plan
from benchmarks.timeline import Times
from benchmarks.work import CADENCE_STEPS, OUT, Work, make_work
from sweep import command
from trainables import files
from trainables.errors import UserError

TRIALS = (1, 2, 4, 8)  # of the grid, which its axes can express
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}
GPT2_PEER_STEPS = 8


@dataclass(frozen=True)
class Outcome:
    """What came of one system in one precision; `times` is None where nothing was measured, for `reason`."""

    plan: Plan | None
    times: Times | None
    peak_bytes: int = 0
    memory: str = ""
    losses: dict[tuple[int, int], float] | None = None
    reason: str = ""


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
    reuse: Annotated[bool, typer.Option("--reuse", help="Take measurements of the same work that are kept.")] = False,
    device: command.DeviceOption = "auto",
    real: output.RealOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the raw measurements.")] = OUT / "makespan",
    results: output.ResultsOption = output.RESULTS,
    as_json: command.JsonOption = False,
) -> int:
    """Run the same grid through this project and its peers, and compare their times, memory and losses."""
    chosen = [command.one_of("--systems", one.strip(), SYSTEMS) for one in wanted.split(",")]
    measured_steps = _check(size, trials, steps, peer_steps)
    output.positive("--repeats", repeats)
    lanes = sorted({output.positive("--at-a-time", int(one)) for one in at_a_time.split(",")})
    found = output.device_of(device)
    folder = out / size
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, dict[str, Outcome]] = {}
    for one in output.precisions(precision):
        work = make_work(size, one, trials, steps, real)
        plans = [
            systems.plan_for(system, work, found.kind, lane, measured_steps)
            for system in chosen
            if found.kind != "cpu" or system not in systems.NEED_GPU
            for lane in (lanes if system == "a" else [1])
        ]
        outcomes[one] = _best(chosen, measure_all(plans, folder, repeats, reuse))
    facts = facts_of(size, outcomes)
    parts: list[Any] = [part for one, rows in outcomes.items() for part in _tables(work, one, rows)]
    parts.append("\n".join(_notes(work, outcomes)))
    output.publish(output.Findings(f"makespan --size {size}", parts, facts), found, results, as_json)
    failed = any(one.plan is not None and one.times is None for rows in outcomes.values() for one in rows.values())
    return command.SOME_FAILED if failed else command.DONE


def _check(size: str, trials: int, steps: int, peer_steps: int | None) -> int:
    """Return how many steps of a peer to measure, 0 for all; raises UserError."""
    if trials not in TRIALS:
        raise UserError(f"--trials must be one of {', '.join(map(str, TRIALS))}, got {trials}")
    if steps < 1 or steps % CADENCE_STEPS:
        raise UserError(f"--steps must be a multiple of {CADENCE_STEPS}, the steps between evaluations, got {steps}")
    if peer_steps is None:
        return GPT2_PEER_STEPS if size == "gpt2" else 0
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
            kept = files.read_json_or_set_aside(path) if reuse else None
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
        reason = (
            f"failed (exit {found['code']}, {len(losses)} of {expected} evaluations); see {path.with_suffix('.log')}"
        )
        return Outcome(plan, None, losses=losses, reason=reason)
    return Outcome(plan, systems.times_of(plan, found), found["peak_bytes"], found["memory"], losses)


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


# --- what it means ---------------------------------------------------------------------------------------------------


def differences(rows: dict[str, Outcome]) -> dict[str, float]:
    """Return per system the largest relative difference of an evaluation loss from ours."""
    ours = next((rows[one].losses for one in systems.OURS if rows[one].losses), None)
    found = {}
    for system, one in rows.items():
        shared = (ours or {}).keys() & (one.losses or {}).keys()
        if shared and ours is not None and one.losses is not None:
            found[system] = max(abs(one.losses[key] - ours[key]) / abs(ours[key]) for key in shared)
    return found


def speedups(rows: dict[str, Outcome]) -> dict[str, float]:
    """Return the ratio of each peer's wall time to ours."""
    ours = rows["d"].times
    return {
        system: one.times.wall_s / ours.wall_s
        for system, one in rows.items()
        if ours is not None and one.times is not None and system not in systems.OURS
    }


def facts_of(size: str, outcomes: dict[str, dict[str, Outcome]]) -> dict[str, Any]:
    """Return everything as one object; `speedup` is between systems in their faster precisions."""
    fastest = {
        system: min(
            (rows[system] for rows in outcomes.values() if rows[system].times is not None),
            key=lambda one: one.times.wall_s if one.times is not None else 0.0,
            default=Outcome(None, None),
        )
        for system in SYSTEMS
    }
    per = {one: _facts(rows, TOLERANCE[one]) for one, rows in outcomes.items()}
    agreed = [one["losses_agree"] for one in per.values()]
    return {
        "size": size,
        "speedup": speedups(fastest),
        "losses_agree": None if None in agreed else all(agreed),
        "by_precision": per,
    }


def _facts(rows: dict[str, Outcome], tolerance: float) -> dict[str, Any]:
    found = differences(rows)
    peers = [value for system, value in found.items()]
    return {
        "speedup": speedups(rows),
        "losses_agree": max(peers) <= tolerance if len(peers) > 1 else None,
        "largest_loss_difference": found,
        "tolerance": tolerance,
        "systems": {system: _of_system(one) for system, one in rows.items()},
    }


def _of_system(one: Outcome) -> dict[str, Any]:
    if one.times is None or one.plan is None:
        return {"measured": False, "reason": one.reason}
    return {
        "measured": True,
        "extended": one.times.extended,
        "wall_s": round(one.times.wall_s, 2),
        "first_comparison_s": None if one.times.first_s is None else round(one.times.first_s, 2),
        "peak_bytes": one.peak_bytes,
        "memory": one.memory,
        "at_a_time": one.plan.at_a_time,
        "steps_measured": one.plan.steps,
        "trials_measured": len(one.plan.chosen),
    }


def _tables(work: Work, precision: str, rows: dict[str, Outcome]) -> list[Any]:
    ratios, apart = speedups(rows), differences(rows)
    lines = []
    for system, one in rows.items():
        name = SYSTEMS[system]
        if one.times is None:
            lines.append([f"({system}) {name}", *[""] * 5, one.reason])
            continue
        assert one.plan is not None
        if system == "a":
            name += f"; {one.plan.at_a_time} at a time"
        if one.times.extended:
            name += " *"
        ratio = f"{ratios[system]:.1f}" if system in ratios else "1" if system == "d" else ""
        first = "" if one.times.first_s is None else f"{one.times.first_s:.1f} s"
        difference = f"{apart[system]:.1e}" if system in apart else ""
        cells = [f"{one.times.wall_s:.1f} s", first, ratio, f"{one.peak_bytes / 1e9:.2f} GB", difference, ""]
        lines.append([f"({system}) {name}", *cells])
    title = f"{precision}: {len(work.trials)} trials of {work.first.max_steps} steps; {'; '.join(work.base.notes)}"
    return [output.table(title, ["", "all done", "first comparison", "times ours", "peak", "losses", ""], lines)]


def _notes(work: Work, outcomes: dict[str, dict[str, Outcome]]) -> list[str]:
    every = [one for rows in outcomes.values() for one in rows.values()]
    kinds = sorted({one.memory for one in every if one.memory})
    notes = [
        "all done: from the command to its end. first comparison: until every configuration has its first evaluation.",
        f"peak: memory of the whole process tree ({'; '.join(kinds) or 'none measured'}), sampled every 0.5 s.",
        "losses: the largest relative difference of an evaluation loss from ours, of all that were measured.",
        "(d) also runs the zero-shot baselines, a last evaluation with texts, and scores, compares and reports.",
        "LoRA dropout is 0 everywhere, so that losses can be compared; the base's own dropout is off.",
    ]
    if any(one.times is not None and one.times.extended for one in every):
        steps = next(one.plan.steps for one in every if one.plan and one.times and one.times.extended)
        notes.append(
            f"* measured at {CADENCE_STEPS} and {steps} steps of the first trials (a: as many as run at a time, b: 1, "
            f"c: {systems.NAIVE_PACK}; all of the shorter prompt), extended as fixed part plus steps times slope. "
            "Its memory is that of the part."
        )
    return notes


app = command.app(makespan)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.makespan"))
