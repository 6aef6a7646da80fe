"""The Pareto set of a search with several objectives: the configurations that no other one beats in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.comparison.candidates import Candidate
from analysis.records.objective_values import objective_value
from search_spaces.objectives import Objective


def objective_values(candidate: Candidate, objectives: Sequence[Objective], split: str) -> tuple[float, ...] | None:
    """Return the value of each objective, the mean over seeds; None where one is missing."""
    found = []
    for objective in objectives:
        values = [
            objective_value(objective.name, row.values, row.summary.splits.get(split, {}) if row.summary else {})
            for row in candidate.rows
        ]
        known = [value for value in values if value is not None]
        if not known:
            return None
        found.append(math.fsum(known) / len(known))
    return tuple(found)


def pareto_set(ranking: Sequence[Candidate], objectives: Sequence[Objective], split: str) -> tuple[Candidate, ...]:
    """Return the candidates that none dominates, in the order of the first objective, best first."""
    known = [(one, values) for one in ranking if (values := objective_values(one, objectives, split)) is not None]
    if not known or not objectives:
        return ()
    signs = np.array([-1.0 if one.is_small else 1.0 for one in objectives])
    gains = np.array([values for _, values in known]) * signs
    kept = np.flatnonzero(undominated(gains))
    order = sorted(kept, key=lambda place: tuple(-gains[place]))
    return tuple(known[place][0] for place in order)


def undominated(gains: ArrayLike) -> NDArray[np.bool_]:
    """Tell which points (N, D), more being better, are not beaten: no other is as good in all and better in one."""
    values = np.asarray(gains, dtype=float)
    is_kept = np.ones(len(values), dtype=bool)
    for place, one in enumerate(values):
        as_good = (values >= one).all(axis=1)
        is_kept[place] = not (as_good & (values > one).any(axis=1)).any()
    return is_kept
