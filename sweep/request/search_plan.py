"""What `plan` says of a search: its sampler, its space, and what a point of it costs (no torch, no ray)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search_spaces.points import Search, SearchAxis
from search_spaces.samplers import choose
from search_spaces.spreads import Choice, IntegerRange, Ratio, as_text
from sweep.request.search_points import RequestedTrials
from trainables import units

Ends = tuple[int, int]
"""Of a number, over all points: the least and the most."""


@dataclass(frozen=True)
class PlannedAxis:
    """An axis by its name and its values as one reads them."""

    name: str
    values: str


@dataclass(frozen=True)
class PlannedPoint:
    """What one point of a search costs, at the least and at the most; None where only absent sources could tell."""

    trainable_parameters: Ends | None
    tokens: Ends | None
    disk_bytes: Ends | None
    memory_bytes: Ends | None

    @property
    def sentence(self) -> str:
        parts = [
            f"{_ends(self.trainable_parameters)} trainable parameters",
            f"{_ends(self.tokens)} training tokens",
            f"{_sizes(self.disk_bytes)} of disk",
            f"{_sizes(self.memory_bytes)} of memory",
        ]
        return f"a point: {', '.join(parts)}"


@dataclass(frozen=True)
class SearchPlan:
    """A search that a run would begin or go on with; `held` points are there, `remaining` are to be asked for."""

    sampler: str
    reason: str
    objectives: tuple[str, ...]
    axes: tuple[PlannedAxis, ...]
    trials: int
    held: int
    remaining: int
    point: PlannedPoint | None  # None where no more are asked for

    @property
    def sentence(self) -> str:
        aims = f"; objectives: {', '.join(self.objectives)}" if self.objectives else ""
        counted = f"{self.held} points are there, {self.remaining} to be asked for"
        return f"search of {self.trials} points: {counted}; {self.reason}{aims}"


def search_plan(space: Search, requested: RequestedTrials, point: PlannedPoint | None) -> SearchPlan:
    """Return what a plan says of a search."""
    chosen = choose(space)
    axes = tuple(PlannedAxis(axis.name, spread_text(axis)) for axis in space.axes)
    counts = (space.trials, requested.held, requested.remaining)
    return SearchPlan(chosen.name, chosen.reason, space.objectives, axes, *counts, point)


def spread_text(axis: SearchAxis) -> str:
    """Write what an axis may be: 5e-05 to 0.005, logarithmic; 8, 16; 1 to 4 times lora_rank."""
    spread = axis.spread
    if isinstance(spread, Choice):
        return ", ".join(f"{value:g}" if isinstance(value, float) else as_text(value) for value in spread.values)
    parts = [f"{spread.low:g} to {spread.high:g}"]
    parts += [f"times {spread.of}"] if isinstance(spread, Ratio) else []
    parts += ["in whole numbers"] if isinstance(spread, IntegerRange) else []
    return " ".join(parts) + (", logarithmic" if spread.log else "")


def ends_of(values: Iterable[int | None]) -> Ends | None:
    """Return the least and the most, None where any is not known or there are none."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return (min(known), max(known)) if known and len(known) == len(listed) else None


def bases_of(packs: Sequence[str]) -> list[str]:
    """Return the phrases of packs without the number of trials, which a search does not know."""
    return [phrase.rpartition(":")[0] for phrase in packs]


def _ends(ends: Ends | None) -> str:
    return "?" if ends is None else f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def _sizes(ends: Ends | None) -> str:
    if ends is None:
        return "?"
    least, most = map(units.size, ends)
    return least if least == most else f"{least} to {most}"
