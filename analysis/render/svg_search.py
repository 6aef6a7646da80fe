"""Figures of a search: best so far, expected best, slices, parallel coordinates, the Pareto set of two objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.render.svg import DASHES, MUTED, RULE, SERIES_COLORS, SURFACE, WIDTH, Drawing, draw_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # of small panels
MOST_LABELS = 8  # values of a choice that are named below a slice
NOT_SET = -0.12  # where a line passes an axis that its point has not


@dataclass(frozen=True)
class StepPanel:
    """The best so far against one cost; `spots` are the trials' own (cost, score)."""

    title: str
    best: Sequence[tuple[float, float]]
    spots: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class BandPoint:
    """A value with its interval, where it has one."""

    x: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SlicePanel:
    """Scores along one axis: numbers, or places among `labels`; the first spot is the best."""

    title: str
    is_log: bool
    labels: Sequence[str]  # of a choice
    spots: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ParallelAxis:
    """One axis of the parallel coordinates: its title, and what stands at places from 0 to 1."""

    title: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class FrontSpot:
    """A configuration by two objectives."""

    name: str
    x: float
    y: float
    is_kept: bool


def draw_best_so_far(name: str, title: str, about: str, quality: str, panels: Sequence[StepPanel]) -> Drawing:
    """Draw the best so far as steps, a panel per cost on one scale of scores, with every trial as a spot."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            axis.grid()
            if panel.spots:
                axis.plot(*zip(*panel.spots, strict=True), "o", markersize=3.5, color=MUTED, markerfacecolor=SURFACE)
            axis.step(*zip(*panel.best, strict=True), where="post", color=SERIES_COLORS[0], linewidth=2)
            axis.set_xlabel(panel.title)
            last = max(x for x, _ in (*panel.spots, *panel.best))
            axis.set_xlim(0, 1.04 * last if last > 0 else 1)  # no spot is cut by the edge
        axes[0].set_ylabel(quality)

    return draw_figure(name, title, about, draw, (WIDTH, 3.0))


def draw_band(name: str, title: str, about: str, axes: tuple[str, str], points: Sequence[BandPoint]) -> Drawing:
    """Draw a line with a band of its intervals, as far as they are stated."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.grid()
        stated = [(one.x, one.low, one.high) for one in points if one.low is not None and one.high is not None]
        if stated:
            xs, lows, highs = zip(*stated, strict=True)
            axis.fill_between(xs, lows, highs, color=SERIES_COLORS[0], alpha=0.18, linewidth=0)
            for ends in (lows, highs):
                axis.plot(xs, ends, color=SERIES_COLORS[0], linewidth=1, linestyle=DASHES[1])
        axis.plot([one.x for one in points], [one.value for one in points], "o-", color=SERIES_COLORS[0], markersize=4)
        axis.set_xlabel(axes[0])
        axis.set_ylabel(axes[1])

    return draw_figure(name, title, about, draw, (WIDTH, 3.0))


def draw_slices(name: str, title: str, about: str, quality: str, panels: Sequence[SlicePanel]) -> Drawing:
    """Draw scores against each axis, the values of a choice side by side with their spots apart."""
    rows = -(-len(panels) // COLUMNS)
    columns = min(len(panels), COLUMNS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            _slice(axis, panel)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(quality)

    return draw_figure(name, title, about, draw, (WIDTH, 2.4 * rows + 0.2))


def _slice(axis: Axes, panel: SlicePanel) -> None:
    axis.grid()
    spots = list(panel.spots)
    if panel.labels:
        spots = [(x + _apart(place), y) for place, (x, y) in enumerate(spots)]
        if len(panel.labels) <= MOST_LABELS:
            axis.set_xticks(range(len(panel.labels)), [label[:12] for label in panel.labels])
        axis.set_xlim(-0.6, len(panel.labels) - 0.4)
    elif panel.is_log:
        axis.set_xscale("log")
        ticks = _log_ticks([x for x, _ in spots])
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xticks([], minor=True)
    (best_x, best_y), others = spots[0], spots[1:]
    if others:
        axis.plot(*zip(*others, strict=True), "o", markersize=4, color=SERIES_COLORS[0], markerfacecolor=SURFACE)
    axis.plot(best_x, best_y, "D", markersize=6, color=SERIES_COLORS[1])
    axis.set_xlabel(panel.title)


def _log_ticks(values: Sequence[float]) -> list[float]:
    """Return powers of ten within the values, or what lies between them too where there are fewer than two."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5)):
        found = [step * 10.0**power for power in powers for step in steps]
        found = [tick for tick in found if 0.95 * low <= tick <= 1.05 * high]
        if len(found) > 1:
            return found
    return found or [low]


def _apart(place: int) -> float:
    """Return how far a spot is moved aside, by turns that do not repeat (the golden ratio's); the first one stays."""
    return 0.4 * ((place * 0.6180339887 + 0.5) % 1 - 0.5)


def draw_parallel(
    name: str, title: str, about: str, axes: Sequence[ParallelAxis], lines: Sequence[Sequence[float | None]], front: int
) -> Drawing:
    """Draw each configuration as a line over all axes, the first of them thick, the `front` first ones in color.

    Args:
        lines: a place from 0 to 1 on each axis, None where the configuration has no such axis; the best first.
    """

    def draw(figure: Figure) -> None:
        from matplotlib.collections import LineCollection

        axis = figure.subplots()
        drawn = [[(x, NOT_SET if y is None else y) for x, y in enumerate(line)] for line in lines]
        axis.add_collection(LineCollection(drawn[front:], colors=RULE, linewidths=0.9, linestyles=[(0, (4, 2))]))
        axis.add_collection(LineCollection(drawn[1:front], colors=SERIES_COLORS[0], linewidths=1.2))
        axis.add_collection(LineCollection(drawn[:1], colors=SERIES_COLORS[1], linewidths=2.8))
        for x, one in enumerate(axes):
            axis.axvline(x, color=MUTED, linewidth=0.8)
            for y, label in one.ticks:
                axis.plot([x - 0.02, x + 0.02], [y, y], color=MUTED, linewidth=0.8)
                axis.annotate(label[:14], (x, y), xytext=(4, 2), textcoords="offset points", fontsize=8)
        if any(place is None for line in lines for place in line):
            axis.annotate("not set", (0, NOT_SET), xytext=(-4, -3), textcoords="offset points", ha="right", fontsize=8)
        axis.set_xticks(range(len(axes)), [one.title.replace(" / ", "\n/ ") for one in axes], fontsize=9)
        axis.set_yticks([])
        axis.set_xlim(-0.25, len(axes) - 1 + 0.45)
        axis.set_ylim(NOT_SET - 0.06, 1.08)
        axis.spines[["left", "bottom"]].set_visible(False)

    return draw_figure(name, title, about, draw, (WIDTH, 3.6))


def draw_front(name: str, title: str, about: str, axes: tuple[str, str], spots: Sequence[FrontSpot]) -> Drawing:
    """Draw configurations by two objectives, the Pareto set filled, joined and named."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.grid()
        kept = sorted((one.x, one.y) for one in spots if one.is_kept)
        axis.plot(*zip(*kept, strict=True), color=SERIES_COLORS[0], linewidth=1.2, linestyle=DASHES[1])
        for is_kept, face in ((False, SURFACE), (True, SERIES_COLORS[0])):
            some = [(one.x, one.y) for one in spots if one.is_kept == is_kept]
            if some:
                axis.plot(*zip(*some, strict=True), "o", markersize=6, color=SERIES_COLORS[0], markerfacecolor=face)
        for one in spots:
            if one.is_kept:
                axis.annotate(one.name, (one.x, one.y), xytext=(5, 4), textcoords="offset points")
        axis.set_xlabel(axes[0])
        axis.set_ylabel(axes[1])
        axis.margins(0.1)

    return draw_figure(name, title, about, draw, (WIDTH, 3.4))
