"""Which sampler chooses the points of a search: the rule of `auto`, and what each one cannot do (without Optuna)."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import Any

from search_spaces.points import Search, cells
from search_spaces.spreads import Choice
from trainables.errors import UserError, one_of

SAMPLERS = ("auto", "grid", "tpe", "gp", "random", "cmaes", "nsga2")
MOST_CELLS_OF_A_GRID = 16  # that `auto` tries all
MOST_GP_TRIALS = 250  # the model of a Gaussian process is fitted to all of them at every ask
PACKAGES = {"gp": ("scipy", "torch"), "cmaes": ("cmaes",)}  # beside Optuna
EXTRAS = {"cmaes": "packsweep[cmaes]"}  # what installs them, where packsweep alone does not


@dataclass(frozen=True)
class ChosenSampler:
    """The sampler of a search, and why it is this one, as a sentence."""

    name: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"sampler": self.name, "reason": self.reason}


def choose(space: Search) -> ChosenSampler:
    """Return the sampler that a search asks for, or the one that `auto` takes; UserError where it cannot take the axes.

    The rule of `auto`, the first that applies: cells, at most 16 and all within the trials: the grid. Several
    objectives, or an axis that is a choice or conditional: TPE. At most 250 trials: a Gaussian process. Else TPE.
    """
    one_of("sampler", space.sampler, SAMPLERS)
    if space.sampler == "auto":
        return _auto(space)
    check(space.sampler, space)
    return ChosenSampler(space.sampler, f"sampler: {space.sampler}, as asked")


def check(sampler: str, space: Search) -> None:
    """Raise UserError where a sampler cannot take these axes or objectives, or lacks a package."""
    known = f"take {' or '.join(able(space))}"
    if sampler in ("gp", "cmaes"):
        for axis in space.axes:
            if _is_categorical(axis.spread):
                raise UserError(
                    f"sampler {sampler} needs ranges of numbers, and the axis {axis.name} is a choice without an "
                    f"order; {known}"
                )
            if axis.when:
                raise UserError(f"sampler {sampler} needs axes that every point has, and {axis.name} is not; {known}")
    if sampler == "cmaes" and len(space.objectives) > 1:
        raise UserError(f"sampler cmaes takes one objective, got {', '.join(space.objectives)}; {known}")
    if sampler == "cmaes" and _moved(space) < 2:
        raise UserError(f"sampler cmaes needs at least two axes, got {_moved(space)}; {known}")
    if sampler == "grid" and cells(space) is None:
        raise UserError(f"sampler grid needs axes whose values can be listed, and one of these is a range; {known}")
    missing = [name for name in PACKAGES.get(sampler, ()) if importlib.util.find_spec(name) is None]
    if missing:
        what = EXTRAS.get(sampler, " ".join(missing))
        raise UserError(f"sampler {sampler} needs the package {missing[0]}: pip install '{what}'; or {known}")


def able(space: Search) -> list[str]:
    """Return the samplers that can take these axes and objectives."""
    numeric = space.is_numeric and not space.is_conditional
    found = ["tpe", "random", "nsga2"]
    found += ["gp"] if numeric else []
    found += ["cmaes"] if numeric and len(space.objectives) < 2 and _moved(space) > 1 else []
    return [*found, *(["grid"] if cells(space) is not None else [])]


def points_to_try(space: Search) -> int:
    """Return how many points a search tries: its trials, or all cells where they are fewer."""
    listed = cells(space)
    return space.trials if listed is None else min(space.trials, len(listed))


def _auto(space: Search) -> ChosenSampler:
    listed = cells(space)
    count = math.inf if listed is None else len(listed)
    if count <= MOST_CELLS_OF_A_GRID and count <= space.trials:
        return _by_rule("grid", f"{count} cells, at most {MOST_CELLS_OF_A_GRID}: all are tried")
    if len(space.objectives) > 1:
        return _by_rule("tpe", f"{len(space.objectives)} objectives")
    for axis in sorted(space.axes, key=lambda one: not one.when):
        if axis.when or _is_categorical(axis.spread):
            return _by_rule("tpe", f"the axis {axis.name} is {'conditional' if axis.when else 'a choice'}")
    if space.trials > MOST_GP_TRIALS:
        return _by_rule("tpe", f"{space.trials} trials, more than {MOST_GP_TRIALS}")
    return _by_rule("gp", f"all axes are numbers, at most {MOST_GP_TRIALS} trials")


def _by_rule(name: str, why: str) -> ChosenSampler:
    return ChosenSampler(name, f"sampler: {name}, chosen by auto ({why})")


def _is_categorical(spread: object) -> bool:
    return isinstance(spread, Choice) and len(spread.values) > 1


def _moved(space: Search) -> int:
    return sum(not isinstance(axis.spread, Choice) or len(axis.spread.values) > 1 for axis in space.axes)
