"""Searches, whose configurations are no full grid: which axis matters, and what more draws would have brought.

For a full factorial use `analysis.findings.effects`: PED-ANOVA gives equal thirds on a 2x2x2 grid whatever is true.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.comparison.candidates import Candidate
from analysis.comparison.comparison import Comparison
from analysis.findings.effects import design_of, factors_of, why_no_effects
from analysis.statistics.factorial import Factor, expected_best
from trainables.metric_table import LOWER_IS_BETTER

if TYPE_CHECKING:
    import optuna

FEWEST_CONFIGURATIONS = 10  # configurations from which importance is stated
IMPORTANCE_RESAMPLES = 100
TRIALS = 20_000  # in all resamples: Optuna takes a fifth of a millisecond for each


@dataclass(frozen=True)
class Importance:
    """The share of an axis in what separates the best quarter of a search from the rest, with a bootstrap interval."""

    axis: str
    importance: float
    low: float
    high: float
    configurations: int


@dataclass(frozen=True)
class ExpectedBest:
    """The expected best score of `draws` configurations drawn from those of the search, where the choice is made."""

    draws: int
    score: float


def is_search(found: Comparison) -> bool:
    """Say whether the configurations are no grid, finished or not, but points chosen one by one."""
    return bool(factors_of(found)) and design_of(found) is None and why_no_effects(found) is None


def expected_best_curve(found: Comparison) -> tuple[ExpectedBest, ...]:
    """Return the unbiased expected-best-of-n curve of a search; none for a grid.

    For independent draws: where the search learned from its trials the curve shows too much for small n.
    """
    if not is_search(found) or len(found.ranking) < 2:
        return ()
    sign = -1 if found.metric in LOWER_IS_BETTER else 1
    best = expected_best([sign * one.selection for one in found.ranking])
    return tuple(ExpectedBest(n, sign * float(value)) for n, value in enumerate(best, start=1))


def importance(found: Comparison, seed: int = 0) -> tuple[Importance, ...]:
    """Return the importance of each axis by PED-ANOVA (Watanabe et al. 2023), the largest first.

    None for a grid, or with fewer than ten finished configurations. The interval is over resamples of configurations.
    """
    ranking = found.ranking
    if not is_search(found) or len(ranking) < FEWEST_CONFIGURATIONS:
        return ()
    factors = factors_of(found)
    whole = _importances(found, factors, list(ranking))
    draw = np.random.default_rng(seed)
    resamples = min(IMPORTANCE_RESAMPLES, max(20, TRIALS // len(ranking)))
    samples = [draw.integers(0, len(ranking), len(ranking)) for _ in range(resamples)]
    drawn = [_importances(found, factors, [ranking[index] for index in sample]) for sample in samples]
    rows = []
    for factor in factors:
        low, high = np.percentile([one.get(factor.name, 0.0) for one in drawn], [2.5, 97.5])
        rows.append(Importance(factor.name, whole.get(factor.name, 0.0), float(low), float(high), len(ranking)))
    return tuple(sorted(rows, key=lambda row: -row.importance))


def _importances(found: Comparison, factors: list[Factor], ranking: list[Candidate]) -> dict[str, float]:
    import optuna  # a second, which grids do not need

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "minimize" if found.metric in LOWER_IS_BETTER else "maximize"
    spread = {factor.name: _distribution(factor) for factor in factors}
    study = optuna.create_study(direction=direction)
    for one in ranking:
        values = {factor.name: _value(getattr(one.row.train, factor.name)) for factor in factors}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=spread, value=one.selection))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is marked experimental
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        found_shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found_shares.items()}


def _distribution(factor: Factor) -> optuna.distributions.BaseDistribution:
    import optuna

    if factor.is_ordered:
        return optuna.distributions.FloatDistribution(
            float(factor.levels[0]), float(factor.levels[-1]), log=factor.is_log
        )
    return optuna.distributions.CategoricalDistribution([_value(level) for level in factor.levels])


def _value(level: Any) -> Any:
    """Return a level as Optuna takes it: numbers as floats, lists as text."""
    if isinstance(level, (tuple, list)):
        return "+".join(map(str, level))
    return float(level) if isinstance(level, (int, float)) and not isinstance(level, bool) else level
