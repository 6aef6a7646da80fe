"""The figures of a sweep, drawn from its findings: differences, effects, curves, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.comparison.comparison import Comparison
from analysis.findings import effects as effects_of
from analysis.findings.effects import Effect
from analysis.findings.findings import Findings
from analysis.findings.learning import LossCurves
from analysis.findings.sentences import describe, title_of
from analysis.records.table import ResultRow
from analysis.render.svg import (
    SERIES,
    Bar,
    Drawing,
    Spot,
    Track,
    draw_costs,
    draw_curves,
    draw_forest,
    draw_half_normal,
    draw_lines,
)
from analysis.statistics.multiple_testing import CORRECTIONS
from analysis.statistics.paired import FEWEST_EXAMPLES
from trainables.metric_table import LOWER_IS_BETTER, metric_of

MOST_LINES = 24
NO_INTERVALS = " There are no intervals: the examples are too few, or all alike."


def forest_figure(findings: Findings) -> Drawing | None:
    """Draw every configuration minus its baseline, and minus the best one, with 95% intervals."""
    found = findings.comparison
    scale, unit = _scale(found)
    place = {one.name: rank for rank, one in enumerate(found.ranking)}
    tests = sorted(findings.tests, key=lambda one: place.get(one.name, len(place)))[:MOST_LINES]
    if not tests:
        return None
    labels = {one.name: f"{one.name}  {_values(found, one.row)}" for one in found.ranking}
    first = [
        Bar(
            labels.get(one.name, one.name),
            scale * one.difference,
            *_whiskers(scale, one.difference, one.low, one.high, one.has_interval),
            one.has_star,
            place.get(one.name) == 0,
        )
        for one in tests
    ]
    shown = {bar.label for bar in first}
    second = [
        Bar(
            labels[one.name],
            -scale * one.difference,
            *_whiskers(-scale, one.difference, one.high, one.low, one.n >= FEWEST_EXAMPLES),
            one.is_separable,
        )
        for one in findings.against_best
        if labels[one.name] in shown
    ]
    metric = title_of(found.metric)
    panels: list[tuple[str, Sequence[Bar]]] = [(f"minus its baseline ({unit})", first)]
    if second and found.best and not found.front:
        panels.append((f"minus {found.best.name}, the best ({unit})", second))
    correction = CORRECTIONS[found.correction]
    correction = correction if found.correction == "holm" else f"{correction} for baselines, Holm for the best"
    about = (
        f"Differences in {metric} on {found.table.split} with 95% intervals, by configuration in the order of the "
        f"choice. Filled: the difference holds after correction ({correction}). The diamond is the best on "
        f"{found.table.selection_split}. The numbers are in the tables."
    )
    about += "" if any(one.has_interval for one in tests) else NO_INTERVALS
    return draw_forest("forest", f"Differences in {metric}, paired by example", about, panels)


def effect_figures(findings: Findings) -> list[Drawing]:
    """Draw the effects of a full factorial, its half-normal plot and trends."""
    found = findings.comparison
    scale, unit = _scale(found)
    metric = title_of(found.metric)
    drawn = []
    known = findings.effects
    if known:
        bars = [
            Bar(_effect_name(one), scale * one.effect,
                *_whiskers(scale, one.effect, one.low, one.high, one.has_interval), one.is_clear)
            for one in known[:MOST_LINES]
        ]  # fmt: skip
        about = "Effects with 95% intervals over examples. Filled: it holds after Holm's correction over all effects."
        about += "" if any(one.has_interval for one in known) else NO_INTERVALS
        drawn.append(draw_forest("effects", f"What each axis does to {metric}", about, [(f"effect ({unit})", bars)]))
    points = effects_of.half_normal(found)
    if len(points) > 2:
        shown = [(one.term.replace("_", " "), scale * one.size, one.quantile) for one in points]
        limits = [("margin of error", scale * points[0].margin), ("for all effects", scale * points[0].simultaneous)]
        about = (
            "Absolute effects against half-normal quantiles. Effects that are noise lie on a line from the corner; one "
            "beyond Lenth's margin is unlike noise, beyond the upper limit also when all effects are looked at."
        )
        drawn.append(draw_half_normal("half-normal", "Which effects are unlike noise", about, unit, shown, limits))
    drawn += _trends(findings, scale, unit)
    return drawn


def curve_figure(found: Comparison, known: Sequence[LossCurves]) -> Drawing | None:
    """Draw the losses of every trial; the first eight by the choice in color, the others in the background."""
    if not known:
        return None
    order = [row.label for one in found.ranking for row in one.rows]
    ranked = sorted(known, key=lambda one: order.index(one.label) if one.label in order else len(order))
    names = {one.label for one in ranked[:SERIES]}
    in_table = [one.label for one in known if one.label in names]
    tracks = [
        Track(one.name, one.train, one.points, in_table.index(one.label) if one.label in names else None)
        for one in known
    ]
    others = f" The other {len(known) - SERIES} trials are gray." if len(known) > SERIES else ""
    about = (
        "Loss per token by optimizer step. The scale of the evaluation loss leaves out its start, the untrained "
        f"model's.{others}"
    )
    return draw_curves("curves", "Training and evaluation loss", about, tracks)


def cost_figure(found: Comparison, known: Sequence[LossCurves]) -> Drawing | None:
    """Draw the deciding metric against time, tokens, trainable parameters and memory, with the Pareto set."""
    scale, unit = _scale(found)
    sign = -1 if found.metric in LOWER_IS_BETTER else 1
    tokens = {one.label: one.tokens for one in known}
    panels, same = [], []
    for heading, of, factor, key in (
        ("training time", "s", 1.0, "train_s"),
        ("training tokens", "", 1.0, "tokens_trained"),
        ("trainable parameters", "thousand", 1e-3, "trainable_parameters"),
        ("peak memory", "MB", 1e-6, "peak_memory_bytes"),
    ):
        spots = []
        for one in found.ranking:
            score = _mean([row.mean(found.table.split, found.metric) for row in one.rows])
            cost = _mean([_cost(row, key, tokens) for row in one.rows])
            if score is not None and cost is not None:
                spots.append(Spot(one.name, cost * factor, sign * scale * score))
        if len({spot.cost for spot in spots}) > 1:
            panels.append((heading, of, spots))
        elif spots:
            same.append(heading)
    if not panels:
        return None
    quality = f"{'minus ' if sign < 0 else ''}{title_of(found.metric)} ({unit})"
    about = (
        f"{title_of(found.metric)} on {found.table.split} against what each configuration cost. Filled and joined: the "
        "Pareto set, which no other configuration beats in both."
    )
    about += f" The same for all: {', '.join(same)}." if same else ""
    return draw_costs("costs", "Quality against cost", about, quality, panels)


def _whiskers(scale: float, value: float, low: float, high: float, has_interval: bool) -> tuple[float, float]:
    """Return the ends of an interval as drawn: none, as in the tables, where it would mean nothing."""
    return (scale * low, scale * high) if has_interval else (scale * value, scale * value)


def _effect_name(one: Effect) -> str:
    """Return the name of an effect, with its levels where they are short."""
    name = one.term.replace("_", " ")
    return f"{name}: {one.change}" if len(one.factors) == 1 else name


def _trends(findings: Findings, scale: float, unit: str) -> list[Drawing]:
    metric, drawn = findings.comparison.metric, []
    is_stated = any(one.has_interval for one in findings.effects)  # the examples are the same
    for one in findings.trends:
        if len(one.levels) < 3:
            continue  # two levels are the effect itself
        axis = one.axis.replace("_", " ")
        series = [("", [(level.level, scale * level.mean) for level in one.levels])]
        per = "doubling" if one.is_log else "unit"
        about = f"Mean {title_of(metric)} by {axis}; slope {scale * one.slope:+.2f} per {per}"
        about += (
            f", 95% interval {scale * one.low:+.2f} to {scale * one.high:+.2f}." if is_stated else f".{NO_INTERVALS}"
        )
        titles = (axis, f"{title_of(metric)} ({unit})")
        drawn.append(draw_lines(f"trend-{one.axis}", f"Trend along {axis}", about, titles, series))
    return drawn


def _cost(row: ResultRow, key: str, tokens: dict[str, int]) -> float | None:
    value = row.values.get(key)
    if value is None and key == "tokens_trained":
        value = tokens.get(row.label)
    if value is None and key == "train_s":
        value = row.values.get("wall_s")
    return float(value) if value is not None else None


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean over the runs of a configuration; None where any of them has none."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _scale(found: Comparison) -> tuple[float, str]:
    metric = metric_of(found.metric)
    return metric.scale, metric.unit


def _values(found: Comparison, row: ResultRow) -> str:
    """Return the values of a configuration in few characters: 'v2, 8, 0.002'."""
    one = next(candidate for candidate in found.ranking if candidate.row is row)
    return ", ".join(part.rsplit(" ", 1)[-1] for part in describe(one, found.table).split(", "))
