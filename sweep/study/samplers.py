"""Optuna's samplers on a space: distributions, parameters as Optuna takes them, a fresh sampler with a seed."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search_spaces.points import Parameters, Search, SearchAxis
from search_spaces.spreads import Choice, IntegerRange, Ratio, as_text

if TYPE_CHECKING:
    import optuna

LEAST_POPULATION, MOST_POPULATION = 8, 50  # of NSGA-II; 50 is Optuna's own
GENERATIONS = 5  # that a search by NSGA-II should at least have


def sampler_of(chosen: str, trials: int, seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler with Optuna's defaults but for the population of NSGA-II, which shrinks with a small search.

    With 50 in a population a search of 24 trials would be all chance.
    """
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one is experimental
        if chosen == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        if chosen == "gp":
            return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if chosen == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if chosen == "nsga2":
            population = min(MOST_POPULATION, max(LEAST_POPULATION, trials // GENERATIONS))
            return optuna.samplers.NSGAIISampler(population_size=population, seed=seed)
        assert chosen == "random", chosen
        return optuna.samplers.RandomSampler(seed=seed)


def seed_of(seed: int, asked: int, attempt: int) -> int:
    """Return the seed of one ask, from the seed of the search, the points that it has, and the attempts so far."""
    digest = hashlib.sha256(f"{seed} {asked} {attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


def distribution_of(axis: SearchAxis) -> optuna.distributions.BaseDistribution:
    """Return the distribution of an axis; a list is categorical, its values that are lists are texts."""
    import optuna

    spread = axis.spread
    if isinstance(spread, Choice):
        return optuna.distributions.CategoricalDistribution([as_told(axis, value) for value in spread.values])
    if isinstance(spread, IntegerRange):
        return optuna.distributions.IntDistribution(spread.low, spread.high, log=spread.log)
    return optuna.distributions.FloatDistribution(float(spread.low), float(spread.high), log=spread.log)


def as_told(axis: SearchAxis, value: Any) -> Any:
    """Return a value as Optuna takes it."""
    if isinstance(axis.spread, Choice):
        return as_text(value) if isinstance(value, tuple | list) else value
    return value if isinstance(axis.spread, IntegerRange) else float(value)


def told_parameters(space: Search, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as Optuna takes them."""
    return {axis.name: as_told(axis, parameters[axis.name]) for axis in space.axes if axis.name in parameters}


def suggest(trial: optuna.Trial, space: Search) -> Parameters:
    """Ask a trial for the value of every axis that is active, those with conditions after what they depend on."""
    fields = space.base.model_dump()
    found: Parameters = {}
    for axis in sorted(space.axes, key=lambda axis: bool(axis.when)):
        if not axis.is_active(fields):
            continue
        found[axis.name] = _suggested(trial, axis)
        if not isinstance(axis.spread, Ratio):
            fields[axis.field] = found[axis.name]
    return found


def _suggested(trial: optuna.Trial, axis: SearchAxis) -> Any:
    spread = axis.spread
    if isinstance(spread, Choice):
        by_told = {as_told(axis, value): value for value in spread.values}
        return by_told[trial.suggest_categorical(axis.name, list(by_told))]
    if isinstance(spread, IntegerRange):
        return trial.suggest_int(axis.name, spread.low, spread.high, log=spread.log)
    return trial.suggest_float(axis.name, float(spread.low), float(spread.high), log=spread.log)
