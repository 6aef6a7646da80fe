"""What each axis of a grid does to the score: effects per example, shares of the sum of squares, trends.

`effects(found)`, `effect_shares(found)`, `half_normal(found)` and `trends(found)` are for full factorials (every
combination of the levels has finished) and empty for anything else, `why_no_effects(found)` says why. Each returns
frozen dataclasses, `winner.frame` makes a DataFrame of them, `effect_sentences` puts them in words. For searches there
is the room `analysis.findings.searches`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from analysis.comparison.candidates import Candidate, candidates
from analysis.comparison.comparison import Comparison
from analysis.records.sweep_search import GRID
from analysis.statistics.factorial import Factor, factor_of, half_normal_quantiles, lenth, shares, terms
from analysis.statistics.multiple_testing import ALPHA, TOLERANCE, Array, attainable_p, flips_for, holm, is_attainable
from analysis.statistics.paired import FEWEST_EXAMPLES, SAME, paired
from trainables.metric_table import LOSS


@dataclass(frozen=True)
class Effect:
    """An effect on the reported split: mean over examples, t interval and p over examples, Holm over all effects.

    `run_low`, `run_high` and `p_runs` are over runs (seeds), where every cell has two or more: without them the seeds'
    share in the noise is not estimated.
    """

    factors: tuple[str, ...]
    change: str
    effect: float
    low: float
    high: float
    n: int
    p: float
    p_holm: float
    run_low: float | None
    run_high: float | None
    p_runs: float | None
    is_attainable: bool  # whether one of the effects could have been significant with so many examples

    @property
    def term(self) -> str:
        return " × ".join(self.factors)

    @property
    def is_clear(self) -> bool:
        return self.is_attainable and self.p_holm < ALPHA

    @property
    def has_interval(self) -> bool:
        return self.n >= FEWEST_EXAMPLES and self.high - self.low > SAME


@dataclass(frozen=True)
class EffectShare:
    """The share of the configurations' sum of squares that a factor or an interaction has."""

    factors: tuple[str, ...]
    share: float

    @property
    def term(self) -> str:
        return " × ".join(self.factors)


@dataclass(frozen=True)
class HalfNormal:
    """A point of the half-normal plot of an unreplicated design; beyond a limit an effect is unlike noise."""

    term: str
    effect: float
    size: float
    quantile: float
    margin: float
    simultaneous: float


@dataclass(frozen=True)
class TrendLevel:
    """The mean score at one level of an axis, with its t interval over examples."""

    level: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    """The slope of the score along a numeric axis, per doubling (`is_log`) or per unit, with its t interval.

    Over examples for a grid. `is_monotone` says whether the means only rise or only fall.
    """

    axis: str
    is_log: bool
    slope: float
    low: float
    high: float
    p: float
    levels: tuple[TrendLevel, ...]
    is_monotone: bool


@dataclass(frozen=True)
class Design:
    """The finished cells of a full factorial in the order of the product of the levels."""

    factors: tuple[Factor, ...]
    cells: tuple[Candidate, ...]

    @property
    def is_two_level(self) -> bool:
        return all(len(factor.levels) == 2 for factor in self.factors)

    @property
    def is_replicated(self) -> bool:
        return all(len(cell.rows) > 1 for cell in self.cells)


def factors_of(found: Comparison) -> list[Factor]:
    """Return what was swept, seeds left out: the axes that have several values among all configurations asked for."""
    rows = _asked(found)
    named = [(axis, [getattr(row.train, axis) for row in rows]) for axis in found.table.axes if axis != "seed"]
    return [factor_of(axis, values) for axis, values in named if len(set(values)) > 1]


def design_of(found: Comparison, metric: str | None = None) -> Design | None:
    """Return the design where every combination of the axes' levels has finished exactly once, else None."""
    table = found.table
    cells = candidates(table.of_kind("configuration"), table.split, metric or found.metric)
    wanted = factors_of(found)
    if not wanted:
        return None
    if math.prod(len(factor.levels) for factor in wanted) != len(cells):
        return None  # before all points are listed: a search has very many
    by_levels = {tuple(getattr(cell.row.train, factor.name) for factor in wanted): cell for cell in cells}
    points = list(product(*(factor.levels for factor in wanted)))
    if len(by_levels) != len(cells) or any(point not in by_levels for point in points):
        return None
    return Design(tuple(wanted), tuple(by_levels[point] for point in points))


def why_no_effects(found: Comparison) -> str | None:
    """Say why effects cannot be separated; None where they can, or where there is nothing to separate."""
    wanted = factors_of(found)
    if not wanted:
        return None
    if design := design_of(found):
        is_other_tokens = found.metric == LOSS and _scores_of(found, design, found.metric) is None
        return "Losses over other tokens cannot be compared, so no effect is stated." if is_other_tokens else None
    if found.table.search is not None and found.table.search.sampler != GRID:
        return None
    total = math.prod(len(factor.levels) for factor in wanted)
    asked = len({tuple(getattr(row.train, factor.name) for factor in wanted) for row in _asked(found)})
    if asked < total:
        return None  # a search, or a list of points: not meant as a factorial
    done = len(found.ranking)
    return f"Effects need every combination of the axes, {total}; {done} have finished, so none is stated."


def effects(found: Comparison, metric: str | None = None) -> tuple[Effect, ...]:
    """Return main effects and interactions of a full factorial; none for anything else."""
    metric = metric or found.metric
    design = design_of(found, metric)
    if design is None:
        return ()
    wanted = terms(design.factors)
    scores = _scores_of(found, design, metric)
    if scores is None:
        return ()
    per_example = np.array([term.weights for term in wanted]) @ scores  # (T, N)
    tests = [paired(row.tolist()) for row in per_example]
    corrected = holm([one.p if one else math.nan for one in tests])
    differing = (np.abs(per_example) > TOLERANCE).sum(axis=1)
    attainable = is_attainable([attainable_p(int(count), flips_for(len(tests))) for count in differing])
    found_effects = []
    for term, one, p_holm in zip(wanted, tests, corrected, strict=True):
        assert one is not None
        over_runs = _over_runs(found, design, term.weights, metric)
        found_effects.append(
            Effect(
                *(term.factors, term.change, one.mean, one.low, one.high, one.n, one.p, float(p_holm)),
                *over_runs,
                is_attainable=attainable,
            )
        )
    return tuple(found_effects)


def effect_shares(found: Comparison, metric: str | None = None) -> tuple[EffectShare, ...]:
    """Return the exact shares of the sum of squares of a full factorial, the largest first."""
    metric = metric or found.metric
    design = design_of(found, metric)
    if design is None or _scores_of(found, design, metric) is None:
        return ()
    means = _cell_means(design)
    rows = [EffectShare(names, share) for names, share in shares(design.factors, means).items()]
    return tuple(sorted(rows, key=lambda row: -row.share))


def half_normal(found: Comparison, metric: str | None = None) -> tuple[HalfNormal, ...]:
    """Return the half-normal plot of an unreplicated two-level design, ascending; none for anything else.

    Its limits come from the small effects themselves, so they cover the seeds too, if most effects are nil.
    """
    metric = metric or found.metric
    design = design_of(found, metric)
    if design is None or not design.is_two_level or design.is_replicated or _scores_of(found, design, metric) is None:
        return ()
    wanted = terms(design.factors, most=len(design.factors))
    values = np.array([term.weights for term in wanted]) @ _cell_means(design)
    limits = lenth(values)
    if limits is None:
        return ()
    order = np.argsort(np.abs(values), kind="stable")
    points = []
    for index, quantile in zip(order, half_normal_quantiles(len(values)), strict=True):
        effect = float(values[index])
        name = " × ".join(wanted[index].factors)
        points.append(HalfNormal(name, effect, abs(effect), float(quantile), limits.margin, limits.simultaneous))
    return tuple(points)


def trends(found: Comparison, metric: str | None = None) -> tuple[Trend, ...]:
    """Return the trend along each numeric axis of a full factorial, the mean over the other axes."""
    metric = metric or found.metric
    design = design_of(found, metric)
    if design is None:
        return ()
    scores = _scores_of(found, design, metric)
    if scores is None:
        return ()
    shaped = scores.reshape([*(len(factor.levels) for factor in design.factors), scores.shape[1]])
    rows = []
    for place, factor in enumerate(design.factors):
        if factor.is_ordered:
            others = tuple(axis for axis in range(len(design.factors)) if axis != place)
            rows.append(_trend(factor, shaped.mean(axis=others)))
    return tuple(rows)


# --- parts -----------------------------------------------------------------------------------------------------------


def _asked(found: Comparison) -> list[Any]:
    return [row for row in found.table.of_kind("configuration") if row.train]


def _scores_of(found: Comparison, design: Design, metric: str) -> Array | None:
    """Return the cells' scores (C, N); None without an example in common, and for losses over other tokens."""
    scores = found.scores[found.table.split].matrix([cell.rows for cell in design.cells], metric)
    return scores if scores.shape[1] and not np.isnan(scores).any() else None


def _cell_means(design: Design) -> Array:
    return np.array([cell.selection for cell in design.cells])


def _over_runs(
    found: Comparison, design: Design, weights: Array, metric: str
) -> tuple[float | None, float | None, float | None]:
    """Return t interval and p of an effect over runs, from the variance of the run means within cells."""
    if not design.is_replicated:
        return None, None, None
    from scipy.special import stdtr, stdtrit

    split = found.table.split
    runs = [[value for row in cell.rows if (value := row.mean(split, metric)) is not None] for cell in design.cells]
    degrees = sum(len(one) - 1 for one in runs)
    within = sum(float(np.var(one)) * len(one) for one in runs) / degrees
    effect = float(weights @ [math.fsum(one) / len(one) for one in runs])
    error = math.sqrt(within * float(sum(weight**2 / len(one) for weight, one in zip(weights, runs, strict=True))))
    if not error:
        return effect, effect, 1.0 if not effect else 0.0
    half = float(stdtrit(degrees, 0.975)) * error
    return effect - half, effect + half, 2 * float(stdtr(degrees, -abs(effect) / error))


def _trend(factor: Factor, by_level: Array) -> Trend:
    """Return the trend of scores (levels, N)."""
    x = factor.positions - factor.positions.mean()
    slope = paired((x @ by_level / (x @ x)).tolist())
    assert slope is not None
    levels = []
    for level, values in zip(factor.levels, by_level, strict=True):
        one = paired(values.tolist())
        assert one is not None
        levels.append(TrendLevel(float(level), one.mean, one.low, one.high))
    steps = np.diff([level.mean for level in levels])
    is_monotone = bool((steps >= 0).all() or (steps <= 0).all())
    return Trend(factor.name, factor.is_log, slope.mean, slope.low, slope.high, slope.p, tuple(levels), is_monotone)
