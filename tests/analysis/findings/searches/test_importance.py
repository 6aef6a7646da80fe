"""Importance of the axes of a search, against Optuna's own on the study that the search would have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from searches_on_disk import BASE, drawn, space, trials_of, write_search
from sweeps_on_disk import baseline, configuration

from analysis.compare import compare
from analysis.findings import effects
from analysis.findings.searches.importance import importance
from analysis.findings.searches.points import is_search
from search_spaces.search import search, when

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


def test_it_is_optunas_on_the_declared_distributions(tmp_path: Path) -> None:
    found = compare(write_search(tmp_path))
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
    assert all(0 <= one.low <= one.high <= 1 and one.configurations == 24 for one in rows)


def test_a_conditional_axis_counts_where_it_is_active(tmp_path: Path) -> None:
    one = search(
        BASE,
        when(quantization="nf4", optimizer=["adamw_torch", "paged_adamw_8bit"]),
        quantization=["none", "nf4"],
        trials=12,
    )
    draw = np.random.default_rng(0)
    points = []
    for seed in range(12):
        nf4 = bool(draw.integers(2))
        change = {"quantization": "nf4", "optimizer": ["adamw_torch", "paged_adamw_8bit"][seed % 2]} if nf4 else {}
        points.append(BASE.model_copy(update={**change, "seed": 42}))
    trials = trials_of(points)
    found = compare(write_search(tmp_path, one, trials))
    assert is_search(found)
    names = {axis.name for axis in one.axes}
    assert names == {"quantization", "optimizer[quantization=nf4]"}


def test_a_list_of_points_has_importance_on_what_varies(make_sweep: Make) -> None:
    found = compare(make_sweep(listed(16)))
    assert is_search(found)
    assert effects.effects(found) == ()
    assert effects.why_no_effects(found) is None
    rows = importance(found)
    assert {one.axis for one in rows} == {"lora_rank", "learning_rate"}
    assert sum(one.importance for one in rows) == pytest.approx(1)


def test_a_grid_and_a_search_of_few_points_have_none(make_sweep: Make, tmp_path: Path) -> None:
    assert importance(compare(make_sweep())) == ()
    assert importance(compare(make_sweep(listed(6)))) == ()
    one = space(trials=4)
    few = compare(write_search(tmp_path / "few", one, trials_of(drawn(one, 4))))
    assert is_search(few)
    assert effects.why_no_effects(few) is None
    assert importance(few) == ()
    assert not is_search(compare(write_search(tmp_path / "grid", one, trials_of(drawn(one, 4)), sampler="grid")))
