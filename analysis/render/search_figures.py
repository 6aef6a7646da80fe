"""The figures of a search, from its findings; none for a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from analysis.comparison.candidates import Candidate
from analysis.comparison.comparison import Comparison
from analysis.comparison.pareto import objective_values
from analysis.findings.findings import Findings
from analysis.findings.searches.draws import INDEPENDENT
from analysis.findings.searches.points import Axis, axes_of, is_search, points_of, values_of
from analysis.findings.searches.progress import SearchStep
from analysis.findings.sentences import title_of, value_of
from analysis.format.cells import cell
from analysis.records.objective_values import objective_title
from analysis.render.svg import Drawing
from analysis.render.svg_search import (
    BandPoint,
    FrontSpot,
    ParallelAxis,
    SlicePanel,
    StepPanel,
    draw_band,
    draw_best_so_far,
    draw_front,
    draw_parallel,
    draw_slices,
)
from search_spaces.objectives import Objective
from search_spaces.spreads import Choice, as_text
from trainables.metric_table import LOWER_IS_BETTER, metric_of


def search_figures(findings: Findings) -> list[Drawing]:
    """Return the figures of a search: Pareto set, best so far, expected best, slices, parallel coordinates."""
    found = findings.comparison
    if not is_search(found) or len(points_of(found)) < 2:
        return []
    drawn = [*_fronts(found), _best_so_far(findings), _expected_best(findings), _slices(found), _parallel(found)]
    return [one for one in drawn if one is not None]


def _quality(found: Comparison) -> str:
    one = metric_of(found.metric)
    return f"{found.table.selection_split} {title_of(found.metric)} ({one.unit})"


def _scaled(found: Comparison, value: float) -> float:
    return metric_of(found.metric).scale * value


def _best_so_far(findings: Findings) -> Drawing | None:
    found, steps = findings.comparison, findings.progress
    panels = [_panel(found, steps, "trials ended", [float(one.trials) for one in steps])]
    tokens = [one.tokens for one in steps]
    if all(value is not None for value in tokens) and any(tokens):
        factor, unit = (1e-6, "million tokens") if (tokens[-1] or 0) >= 1e6 else (1e-3, "thousand tokens")
        panels.append(_panel(found, steps, f"{unit} trained", [factor * (value or 0) for value in tokens]))
    times = [one.time_s for one in steps]
    if all(value is not None for value in times):
        factor, unit = (1 / 3600, "hours") if (times[-1] or 0) >= 7200 else (1 / 60, "minutes")
        panels.append(_panel(found, steps, unit, [factor * (value or 0) for value in times]))
    shown = [one for one in panels if one is not None]
    if not shown:
        return None
    about = (
        f"The line is the best {title_of(found.metric)} on {found.table.selection_split} so far, a circle each trial. "
        "The best of many looks better than it is; the table says what it is worth. Pauses between commands are left "
        "out of the time."
    )
    return draw_best_so_far("best-so-far", "Best so far", about, _quality(found), shown)


def _panel(found: Comparison, steps: Sequence[SearchStep], title: str, costs: Sequence[float]) -> StepPanel | None:
    best = [(cost, _scaled(found, one.best)) for one, cost in zip(steps, costs, strict=True) if one.best is not None]
    spots = [(cost, _scaled(found, one.score)) for one, cost in zip(steps, costs, strict=True) if one.score is not None]
    return StepPanel(title, best, spots) if best else None


def _expected_best(findings: Findings) -> Drawing | None:
    found, curve = findings.comparison, findings.expected_best
    if not curve:
        return None
    points = [
        BandPoint(
            one.draws,
            _scaled(found, one.score),
            None if one.low is None else _scaled(found, one.low),
            None if one.high is None else _scaled(found, one.high),
        )
        for one in curve
    ]
    stated = sum(one.low is not None for one in curve)
    about = f"The expected best {title_of(found.metric)} of so many points drawn at random from those tried."
    about += f" The band is its 95% interval, stated up to {stated} draws." if stated > 1 else ""
    if found.table.search is None or found.table.search.sampler not in INDEPENDENT:
        about += " For independent draws alone: a sampler that learned makes it too high for few points."
    return draw_band("expected-best", "What more points bring", about, ("points", _quality(found)), points)


def _slices(found: Comparison) -> Drawing | None:
    points, panels = points_of(found), []
    for axis in axes_of(found):
        known = [(values[axis.name], one) for one in points if axis.name in (values := values_of(found, one.row) or {})]
        if not known:
            continue
        labels = [as_text(value) for value in axis.spread.values] if isinstance(axis.spread, Choice) else []
        spots = [
            (float(labels.index(as_text(value)) if labels else value), _scaled(found, one.selection))
            for value, one in known
        ]
        panels.append(SlicePanel(axis.title, axis.is_log, labels, spots))
    if not panels:
        return None
    about = (
        f"{title_of(found.metric)} on {found.table.selection_split} against each axis alone, the others being what "
        "they were: a search looks longest where it found good points. The diamond is the best of each panel."
    )
    return draw_slices("slices", "Scores along each axis", about, _quality(found), panels)


def _parallel(found: Comparison) -> Drawing | None:
    points, axes = points_of(found), axes_of(found)
    scores = [one.selection for one in points]
    best, worst = scores[0], scores[-1]
    if best == worst:
        return None
    shown = [ParallelAxis(axis.title, _ticks(axis)) for axis in axes]
    named = ((1.0, value_of(found.metric, best)), (0.0, value_of(found.metric, worst)))
    shown.append(ParallelAxis(title_of(found.metric), named))
    lines = [[*_places(found, one, axes), (one.selection - worst) / (best - worst)] for one in points]
    front = max(len(points) // 4, 1)
    about = (
        f"Every finished point is a line. The thick one is the best by {title_of(found.metric)} on "
        f"{found.table.selection_split}, whole lines are the best quarter, broken ones the rest."
    )
    about += " The score's axis has lower losses above." if found.metric in LOWER_IS_BETTER else ""
    return draw_parallel("parallel", "Points as lines over all axes", about, shown, lines, front)


def _places(found: Comparison, one: Candidate, axes: Sequence[Axis]) -> list[float | None]:
    values = values_of(found, one.row) or {}
    return [_place(axis, values[axis.name]) if axis.name in values else None for axis in axes]


def _place(axis: Axis, value: Any) -> float:
    """Return where a value lies on its axis, from 0 to 1."""
    spread = axis.spread
    if isinstance(spread, Choice):
        return _texts(spread).index(as_text(value)) / max(len(spread.values) - 1, 1)
    scale = math.log if spread.log else float
    low, high = scale(spread.low), scale(spread.high)
    return (scale(value) - low) / (high - low)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    spread = axis.spread
    if isinstance(spread, Choice):
        return [(_place(axis, value), as_text(value)) for value in spread.values]
    return [(0.0, cell(spread.low)), (1.0, cell(spread.high))]


def _texts(spread: Choice) -> list[str]:
    return [as_text(value) for value in spread.values]


def _fronts(found: Comparison) -> list[Drawing]:
    """Draw the Pareto set by every two objectives."""
    objectives = found.table.search.objectives if found.table.search and found.front else ()
    split = found.table.selection_split
    kept = {one.name for one in found.front}
    known = [(one, values) for one in found.ranking if (values := objective_values(one, objectives, split))]
    drawn = []
    for second, first in combinations(range(len(objectives)), 2):
        spots = [
            FrontSpot(
                one.name,
                _in_unit(objectives[first], values[first]),
                _in_unit(objectives[second], values[second]),
                one.name in kept,
            )
            for one, values in known
        ]
        titles = (_axis_title(objectives[first]), _axis_title(objectives[second]))
        about = (
            f"Filled and joined: the {len(found.front)} of {len(known)} configurations that no other one beats in all "
            f"{len(objectives)} objectives, on {split}. None of them is the winner: which to keep is yours to say."
        )
        drawn.append(draw_front(f"pareto-{second}-{first}", "Pareto set", about, titles, spots))
    return drawn


UNITS = {"runtime_s": (1.0, "s"), "adapter_bytes": (1e-3, "kB"), "trainable_parameters": (1e-3, "thousand")}


def _in_unit(objective: Objective, value: float) -> float:
    return (UNITS[objective.name][0] if objective.is_cost else metric_of(objective.name).scale) * value


def _axis_title(objective: Objective) -> str:
    unit = UNITS[objective.name][1] if objective.is_cost else metric_of(objective.name).unit
    return f"{objective_title(objective.name)} ({unit}), {'less' if objective.is_small else 'more'} is better"
