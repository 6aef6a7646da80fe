"""What measurements of several systems mean together: ratios of their times, agreement of their losses, a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import memory, output, systems
from benchmarks.systems import SYSTEMS, Plan
from benchmarks.timeline import Times
from benchmarks.work import CADENCE_STEPS, Work

GPU_COLUMN = 6
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}


@dataclass(frozen=True)
class Outcome:
    """What came of one system in one precision; `times` is None where nothing was measured, for `reason`."""

    plan: Plan | None
    times: Times | None
    peak_bytes: int = 0
    memory: str = ""
    losses: dict[tuple[int, int], float] | None = None
    reason: str = ""
    gpu_peak_bytes: int | None = None


def differences(rows: dict[str, Outcome]) -> dict[str, list[float]]:
    """Return per system the relative difference of each evaluation loss from ours, of those that both have."""
    ours = next((rows[one].losses for one in systems.OURS if rows[one].losses), None) or {}
    apart = {
        system: [abs(loss - ours[key]) / abs(ours[key]) for key, loss in (one.losses or {}).items() if key in ours]
        for system, one in rows.items()
    }
    return {system: found for system, found in apart.items() if found}


def ours_in(rows: dict[str, Outcome]) -> str | None:
    """Return which of our systems the others are compared with: without Ray there is only the engine alone."""
    return next((system for system in systems.OURS if rows[system].times is not None), None)


def speedups(rows: dict[str, Outcome]) -> dict[str, float]:
    """Return the ratio of each peer's wall time to ours."""
    system_of_ours = ours_in(rows)
    ours = rows[system_of_ours].times if system_of_ours is not None else None
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
        "speedup_of": ours_in(fastest),
        "losses_agree": None if None in agreed else all(agreed),
        "by_precision": per,
    }


def _facts(rows: dict[str, Outcome], tolerance: float) -> dict[str, Any]:
    found = differences(rows)
    of_peers = [one for system, each in found.items() if system not in systems.OURS for one in each]
    return {
        "speedup": speedups(rows),
        "speedup_of": ours_in(rows),
        "losses_agree": all(one <= tolerance for one in of_peers) if of_peers else None,
        "losses_compared": {system: len(each) for system, each in found.items()},
        "largest_loss_difference": {system: max(each) for system, each in found.items()},
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
        "after_load_s": None if one.times.after_load_s is None else round(one.times.after_load_s, 2),
        "first_comparison_s": None if one.times.first_s is None else round(one.times.first_s, 2),
        "peak_bytes": one.peak_bytes,
        "gpu_peak_bytes": one.gpu_peak_bytes,
        "memory": one.memory,
        "s_per_step": one.times.s_per_step,
        "at_a_time": one.plan.at_a_time,
        "steps_measured": one.plan.steps,
        "trials_measured": len(one.plan.chosen),
    }


def tables(work: Work, precision: str, rows: dict[str, Outcome]) -> list[Any]:
    ratios, apart, ours = speedups(rows), differences(rows), ours_in(rows)
    lines = []
    for system, one in rows.items():
        name = SYSTEMS[system][0]
        if one.times is None:
            lines.append([f"({system}) {name}", *[""] * 7, one.reason])
            continue
        assert one.plan is not None
        if system == "a":
            name += f", {one.plan.at_a_time} at a time"
        if one.times.extended:
            name += " *"
        ratio = f"{ratios[system]:.1f}" if system in ratios else "1" if system == ours else ""
        after, first = (
            "" if seconds is None else f"{seconds:.1f} s" for seconds in (one.times.after_load_s, one.times.first_s)
        )
        difference = f"{max(apart[system]):.1e} of {len(apart[system])}" if system in apart else ""
        peaks = [output.gigabytes(one.peak_bytes), output.gigabytes(one.gpu_peak_bytes)]
        cells = [f"{one.times.wall_s:.1f} s", after, first, ratio, *peaks, difference, ""]
        lines.append([f"({system}) {name}", *cells])
    title = f"{precision}: {len(work.trials)} trials of {work.first.max_steps} steps; {'; '.join(work.base.notes)}"
    columns = ["", "all done", "after load", "all compared", "ratio", "peak", "of GPUs", "losses", ""]
    if not any(line[GPU_COLUMN] for line in lines):
        lines = [line[:GPU_COLUMN] + line[GPU_COLUMN + 1 :] for line in lines]
        del columns[GPU_COLUMN]
    return [output.table(title, columns, lines)]


def notes(work: Work, outcomes: dict[str, dict[str, Outcome]]) -> list[str]:
    every = [one for rows in outcomes.values() for one in rows.values()]
    kinds = sorted({one.memory for one in every if one.memory})
    found = [
        *(f"({system}) {sentence}." for system, (_, sentence) in SYSTEMS.items()),
        "all done: from the command to its end. after load: from when the base is loaded that all trials share,",
        "for (d) also tried, since its slots open then.",
        "all compared: from the command until every configuration has its first evaluation.",
        "ratio: of a system's time to all done to (d)'s, or to (d0)'s where (d) was not measured.",
        f"peak: memory of the whole process tree ({'; '.join(kinds) or 'none measured'}), {memory.SAMPLED}.",
        "losses: the largest relative difference of an evaluation loss from ours, of so many.",
        "(d) also runs the zero-shot baselines, a last evaluation with texts, and scores, compares and reports.",
        "LoRA dropout is 0 everywhere, so that losses can be compared; the base's own dropout is off.",
    ]
    if any(one.gpu_peak_bytes for one in every):
        found.append("of GPUs: what all processes held there more than before.")
    if any(one.times is not None and one.times.extended for one in every):
        steps = next(one.plan.steps for one in every if one.plan and one.times and one.times.extended)
        found.append(
            f"* measured at {CADENCE_STEPS} and {steps} steps of the first trials (a: as many as run at a time, b: 1, "
            f"c: {systems.NAIVE_PACK}; all of the shorter prompt), extended as fixed part plus steps times slope. "
            "Its memory is that of the part."
        )
    return found
