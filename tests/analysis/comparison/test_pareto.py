"""The Pareto set against a search of all pairs, and against Optuna's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

from analysis.compare import compare
from analysis.comparison.pareto import undominated


def by_all_pairs(points: np.ndarray) -> list[bool]:
    found = []
    for one in points:
        beats = [all(other >= one) and any(other > one) for other in points]
        found.append(not any(beats))
    return found


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_set_is_that_of_all_pairs_and_of_optuna(dimensions: int) -> None:
    draw = np.random.default_rng(dimensions)
    points = draw.integers(0, 12, (60, dimensions)).astype(float)  # with equal ones
    expected = by_all_pairs(points)
    assert undominated(points).tolist() == expected
    study = optuna.create_study(directions=["maximize"] * dimensions)
    study.add_trials(
        [optuna.trial.create_trial(values=list(one), user_attrs={"place": i}) for i, one in enumerate(points)]
    )
    assert {one.user_attrs["place"] for one in study.best_trials} == set(np.flatnonzero(expected))


def test_the_set_of_a_search_is_what_its_records_say_and_is_marked(several: Path) -> None:
    found = compare(several)
    rows = found.table.of_kind("configuration")
    values = np.array(
        [[row.mean("validation", "rougeL"), -row.values["trainable_parameters"], -row.values["wall_s"]] for row in rows]
    )
    expected = {row.name for row, kept in zip(rows, by_all_pairs(values), strict=True) if kept}
    assert {one.name for one in found.front} == expected
    assert {row.name for row in rows if row.values["mark"] == "pareto"} == expected
    scores = [one.selection for one in found.front]
    assert scores == sorted(scores, reverse=True)


def test_one_objective_has_no_set(searched: Path) -> None:
    found = compare(searched)
    assert found.front == ()
    assert [row.values["mark"] for row in found.table.of_kind("configuration")].count("best") == 1
