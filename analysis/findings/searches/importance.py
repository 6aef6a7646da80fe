"""Which axis of a search matters: PED-ANOVA on the axes and distributions of the search.

For a full factorial use `analysis.findings.effects`: PED-ANOVA gives equal thirds on a 2x2x2 grid whatever is true.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.comparison.comparison import Comparison
from analysis.findings.searches.points import Axis, axes_of, is_search, points_of, values_of
from search_spaces.spreads import Choice, IntegerRange, as_text
from trainables.metric_table import LOWER_IS_BETTER

if TYPE_CHECKING:
    import optuna

FEWEST_CONFIGURATIONS = 10  # configurations from which importance is stated
QUANTILE = 0.25  # of the configurations are the best
RESAMPLES = 100
TRIALS = 8_000  # in all resamples

WARNING = (
    "Importance is what separates the best quarter of the trials from the rest (PED-ANOVA), where the search looked: "
    "no effect, and little to go by with few trials."
)


@dataclass(frozen=True)
class Importance:
    """The share of an axis in what separates the best quarter of a search from the rest, with a bootstrap interval."""

    axis: str
    importance: float
    low: float
    high: float
    configurations: int


def importance(found: Comparison, seed: int = 0) -> tuple[Importance, ...]:
    """Return the importance of each axis by PED-ANOVA (Watanabe et al. 2023), the largest first.

    None for a grid, or with fewer than ten finished configurations. The interval is over resamples of configurations.
    """
    ranking = points_of(found) if is_search(found) else []
    if len(ranking) < FEWEST_CONFIGURATIONS:
        return ()
    axes = axes_of(found)
    points = [(_parameters(found, one.row, axes), one.selection) for one in ranking]
    lower = found.metric in LOWER_IS_BETTER
    whole = shares(axes, points, lower)
    draw = np.random.default_rng(seed)
    resamples = min(RESAMPLES, max(20, TRIALS // len(points)))
    samples = [draw.integers(0, len(points), len(points)) for _ in range(resamples)]
    drawn = [shares(axes, [points[index] for index in sample], lower) for sample in samples]
    rows = []
    for axis in axes:
        low, high = np.percentile([one.get(axis.name, 0.0) for one in drawn], [2.5, 97.5])
        rows.append(Importance(axis.name, whole.get(axis.name, 0.0), float(low), float(high), len(points)))
    return tuple(sorted(rows, key=lambda row: -row.importance))


def shares(
    axes: Sequence[Axis], points: Sequence[tuple[Mapping[str, Any], float]], lower_is_better: bool
) -> dict[str, float]:
    """Return PED-ANOVA's importance by axis of points, each with its score; they sum to 1."""
    import optuna  # a second, which grids do not need

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spread = {axis.name: distribution(axis) for axis in axes}
    complete = optuna.trial.TrialState.COMPLETE
    now = datetime.now()  # any time will do, which none is asked for
    trials = [
        optuna.trial.FrozenTrial(
            *(number, complete, score, now, now, dict(values), {name: spread[name] for name in values}, {}, {}, {}),
            trial_id=number,
        )
        for number, (values, score) in enumerate(points)
    ]
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize")
    study.get_trials = lambda deepcopy=True, states=None: trials  # to add them would copy each, five times as slow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is marked experimental
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=QUANTILE)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def distribution(axis: Axis) -> optuna.distributions.BaseDistribution:
    """Return an axis as Optuna knows it: values of a choice as text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    spread = axis.spread
    if isinstance(spread, Choice):
        return CategoricalDistribution([as_text(value) for value in spread.values])
    if isinstance(spread, IntegerRange):
        return IntDistribution(spread.low, spread.high, log=spread.log)
    return FloatDistribution(float(spread.low), float(spread.high), log=spread.log)


def _parameters(found: Comparison, row: Any, axes: Sequence[Axis]) -> dict[str, Any]:
    values = values_of(found, row) or {}
    texts = {axis.name: isinstance(axis.spread, Choice) for axis in axes}
    return {name: as_text(value) if texts[name] else value for name, value in values.items() if name in texts}
