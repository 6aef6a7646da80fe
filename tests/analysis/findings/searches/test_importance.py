"""Importance of the axes of a search, against Optuna's own on the study that the search would have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from searches_on_disk import space, write_search
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.findings import effects
from analysis.findings.searches.importance import distribution, importance, shares
from analysis.findings.searches.points import Axis, is_search
from search_spaces.spreads import Choice, IntegerRange

Make = Callable[..., Path]


def listed(count: int) -> list:
    """Return a list of points whose sweep says nothing of a search."""
    draw = np.random.default_rng(0)
    rates, ranks = 10 ** draw.uniform(-5, -3, count), draw.choice([4, 8, 16, 32], count)
    trials = [baseline()]
    for index, (rate, rank) in enumerate(zip(rates, ranks, strict=True)):
        quality = 0.2 + 0.3 * (math.log10(rate) + 5) / 2
        trials.append(configuration(f"T{index}", rank=int(rank), rate=float(rate), quality=float(quality)))
    return trials


def test_it_is_optunas_on_the_declared_distributions(searched: Path) -> None:
    found = compare(searched)
    study = optuna.create_study(direction="maximize")
    distributions = {
        "learning_rate": optuna.distributions.FloatDistribution(5e-5, 5e-3, log=True),
        "lora_rank": optuna.distributions.CategoricalDistribution(["4", "8", "16", "32"]),
        "lora_dropout": optuna.distributions.FloatDistribution(0, 0.2),
        "lora_alpha/lora_rank": optuna.distributions.FloatDistribution(1, 4),
        "prompt": optuna.distributions.CategoricalDistribution(["v1", "v2"]),
    }
    for one in found.ranking:
        train = one.row.train
        assert train
        values = {"learning_rate": train.learning_rate, "lora_rank": str(train.lora_rank), "prompt": train.prompt}
        values |= {"lora_dropout": train.lora_dropout}
        values |= {"lora_alpha/lora_rank": float(f"{train.lora_alpha / train.lora_rank:.4g}")}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=one.selection))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    rows = importance(found)
    assert {one.axis: one.importance for one in rows} == pytest.approx(expected)
    assert all(0 <= one.low <= one.high <= 1 and one.configurations == 12 for one in rows)


def test_a_conditional_axis_counts_where_it_is_active() -> None:
    axes = [
        Axis("quantization", "quantization", Choice(("none", "nf4"))),
        Axis("lora_rank[quantization=nf4]", "lora_rank", IntegerRange(1, 64, log=True)),
    ]
    draw = np.random.default_rng(0)
    points: list[tuple[dict, float]] = []
    study = optuna.create_study(direction="maximize")
    for _ in range(40):
        rank = int(draw.integers(1, 65))
        values = {"quantization": "nf4", axes[1].name: rank} if draw.integers(2) else {"quantization": "none"}
        points.append((values, float(rank if axes[1].name in values else 30 + draw.uniform())))
        distributions = {axis.name: distribution(axis) for axis in axes if axis.name in values}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, value=points[-1][1]))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    found = shares(axes, points, lower_is_better=False)
    assert found == pytest.approx(expected)
    assert found[axes[1].name] > 0.5


def test_a_list_of_points_has_importance_on_what_varies(make_sweep: Make) -> None:
    found = compare(make_sweep(listed(11)))
    assert is_search(found)
    assert effects.effects(found) == ()
    assert effects.why_no_effects(found) is None
    rows = importance(found)
    assert {one.axis for one in rows} == {"lora_rank", "learning_rate"}
    assert sum(one.importance for one in rows) == pytest.approx(1)


def test_a_grid_and_a_search_of_few_points_have_none(make_sweep: Make, tmp_path: Path) -> None:
    assert importance(compare(make_sweep(grid(A={"state": None})))) == ()
    few = compare(write_search(tmp_path / "few", space(trials=3)))
    assert is_search(few)
    assert effects.why_no_effects(few) is None
    assert importance(few) == ()
    cells = write_search(tmp_path / "grid", space(trials=2), sampler="grid")
    assert not is_search(compare(cells))
