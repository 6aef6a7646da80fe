"""From the events of a measurement to its times; of a part of the work, to the times of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean
from typing import Any

Marks = list[dict[str, Any]]


@dataclass(frozen=True)
class Times:
    """Seconds from the command to the end, and to the first evaluation of every trial.

    `extended`: not measured whole; a trial is its fixed part plus steps times the slope between two step counts.
    `loaded_s`: until the base was there, where all trials share one.
    """

    wall_s: float
    first_s: float | None
    extended: bool
    s_per_step: float | None = None  # of a trial, evaluations shared out
    loaded_s: float | None = None

    @property
    def after_load_s(self) -> float | None:
        return None if self.loaded_s is None else self.wall_s - self.loaded_s


def loaded(marks: Marks, began: float) -> float | None:
    """Return when the base was loaded that all trials share; None where that is not known."""
    return next((one["time"] - began for one in marks if one["event"] == "started"), None)


def losses(marks: Marks) -> dict[tuple[int, int], float]:
    """Return the evaluation losses by (trial, step)."""
    return {(one["trial"], one["step"]): one["eval_loss"] for one in marks if one["event"] == "evaluated"}


def measured_whole(marks: Marks, began: float, ended: float, trials: int) -> Times:
    """Return the times of a run that did all the work."""
    return Times(ended - began, first_comparison(marks, began, trials), False)


def first_comparison(marks: Marks, began: float, trials: int) -> float | None:
    """Return when the last of all trials had its first evaluation."""
    first: dict[int, float] = {}
    for one in marks:
        if one["event"] == "evaluated":
            first.setdefault(one["trial"], one["time"])
    return max(first.values()) - began if len(first) == trials else None


def extended_in_turn(marks: Marks, began: float, ended: float, trials: int, steps: int, lanes: int) -> Times:
    """Extend trials that run one after another in each of `lanes` lanes, of which the first of each was measured."""
    started = next(one["time"] for one in marks if one["event"] == "started")
    slope = _slope(marks)
    wholes, firsts, ends = [], [], []
    for trial in sorted({one["trial"] for one in marks if one["trial"] is not None}):
        own = [one for one in marks if one["trial"] == trial]
        evaluated = [one for one in own if one["event"] == "evaluated"]
        end = next(one["time"] for one in own if one["event"] == "ended")
        wholes.append(end - started + slope * (steps - evaluated[-1]["step"]))
        firsts.append(evaluated[0]["time"] - started)
        ends.append(end)
    rounds = math.ceil(trials / lanes)
    head, tail = started - began, ended - max(ends)
    wall = head + rounds * mean(wholes) + tail
    return Times(wall, head + (rounds - 1) * mean(wholes) + max(firsts), True, slope)


def extended_in_step(marks: Marks, began: float, ended: float, trials: int, steps: int) -> Times:
    """Extend adapters that are trained in a loop: time grows with their number, only the start does not."""
    started = next(one["time"] for one in marks if one["event"] == "started")
    stop = next(one["time"] for one in marks if one["event"] == "ended")
    measured = len({one["trial"] for one in marks if one["event"] == "evaluated"})
    counts = sorted({one["step"] for one in marks if one["event"] == "evaluated"})
    rounds = [max(one["time"] for one in marks if one.get("step") == step) for step in counts]
    per_step = (rounds[-1] - rounds[0]) / (counts[-1] - counts[0])
    scale = trials / measured
    wall = started - began + scale * (stop - started + per_step * (steps - counts[-1])) + ended - stop
    return Times(wall, started - began + scale * (rounds[0] - started), True, per_step / measured)


def _slope(marks: Marks) -> float:
    """Return seconds per step between the first and the last evaluation, over all trials."""
    slopes = []
    for trial in {one["trial"] for one in marks if one["event"] == "evaluated"}:
        own = [one for one in marks if one["event"] == "evaluated" and one["trial"] == trial]
        slopes.append((own[-1]["time"] - own[0]["time"]) / (own[-1]["step"] - own[0]["step"]))
    return mean(slopes)
