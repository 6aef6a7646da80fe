"""The learning verdict on curves whose end is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sweeps_on_disk import baseline, configuration, write_curve

from analysis.findings import learning
from analysis.records.load import load

Make = Callable[..., Path]


def verdict(make_sweep: Make, losses: Sequence[float], every: int = 4, **trial) -> learning.CurveVerdict:
    """Return the verdict on a trial without a baseline whose evaluation losses are `losses`."""
    folder = make_sweep(
        [configuration("A", train={"max_steps": every * len(losses), **trial.pop("train", {})}, **trial)]
    )
    write_curve(folder, "A", losses, every)
    return learning.verdicts(load(folder))[0]


def noisy(values: Sequence[float], size: float = 0.002) -> list[float]:
    draw = random.Random(0)
    return [value + draw.uniform(-size, size) for value in values]


def test_eight_epochs_of_nothing_are_no_convergence(make_sweep: Make) -> None:
    losses = [2.6488 - (2.6488 - 2.6409) * place / 7 for place in range(8)]
    found = verdict(make_sweep, losses)
    assert found.verdict == "hardly learned"
    assert "moved by 0.3% from 2.6488 to 2.6409" in found.sentence
    assert "too low" in found.cause


def test_a_trial_that_hardly_learned_is_explained_by_a_faster_one(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A", rate=1e-6), configuration("B", rate=1e-3)])
    write_curve(folder, "A", [2.65, 2.649, 2.648, 2.648])
    write_curve(folder, "B", [2.6, 2.4, 2.2, 2.0, 1.8])
    first, second = learning.verdicts(load(folder))
    assert (first.verdict, second.verdict) == ("hardly learned", "still learning")
    assert first.cause == "the learning rate 1e-06 is too low: with 0.001 B fell by 31%"


def test_clipped_gradients_are_a_cause(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A")])
    write_curve(folder, "A", [2.65, 2.649, 2.648, 2.648], grad_norm=3.0)
    assert learning.verdicts(load(folder))[0].cause == "the gradient was clipped to 1 in 100% of the steps"


def test_a_falling_curve_is_still_learning_with_its_slope(make_sweep: Make) -> None:
    found = verdict(make_sweep, noisy([3.0 - 0.1 * place for place in range(8)]))
    assert found.verdict == "still learning"
    assert found.slope == pytest.approx(-0.25, abs=0.01)  # 0.1 per evaluation of 4 steps, per 10 steps
    assert found.low is not None
    assert found.low < -0.25 < found.high < 0
    assert "schedule" in found.cause


def test_a_curve_that_falls_and_stays_is_flat(make_sweep: Make) -> None:
    found = verdict(make_sweep, noisy([3.0, 2.2, 2.05, 2.0, 2.0, 2.0, 2.0, 2.0]))
    assert found.verdict == "flat"
    assert "constant" not in found.cause
    level = verdict(make_sweep, noisy([3.0, 2.2, 2.0, 2.0, 2.0, 2.0]), train={"schedule": "constant"})
    assert level.cause == "it converged: more steps of the same would change little"


def test_a_curve_that_turns_overfits_from_its_best_step(make_sweep: Make) -> None:
    found = verdict(make_sweep, [3.0, 2.2, 2.0, 2.1, 2.3, 2.6])
    assert (found.verdict, found.best_step) == ("overfitting", 12)
    assert "best, 2.000, at step 12 and is 2.600 at the end" in found.sentence
    assert "keep_checkpoint='best'" in found.cause


def test_a_wide_interval_gives_no_certain_verdict(make_sweep: Make) -> None:
    found = verdict(make_sweep, [3.0, 2.5, 2.4, 2.2, 2.35, 2.1])
    assert found.verdict == "perhaps still learning"


@pytest.mark.parametrize("state", ["diverged", "failed", "oom"])
def test_a_trial_that_ended_badly_has_its_state_for_a_verdict(make_sweep: Make, state: str) -> None:
    found = verdict(make_sweep, [3.0, 2.5, 2.4], state=state, cause="the loss is not finite")
    assert found.verdict == state
    assert found.cause


def test_two_evaluations_are_too_few(make_sweep: Make) -> None:
    assert verdict(make_sweep, [3.0, 2.5]).verdict == "too short to tell"
    assert verdict(make_sweep, [3.0, 2.5, math.nan, math.nan]).verdict == "too short to tell"


def test_the_untrained_models_loss_is_the_start_of_the_curve(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    write_curve(folder, "A", [2.2, 2.2, 2.2])
    table = load(folder)
    (curve,) = learning.curves(table)
    assert curve.points[0] == (0, table.rows[0].mean("validation", "eval_loss"))
    assert curve.tokens == 12 * 60
    assert learning.summary(learning.verdicts(table)).startswith("By their own curves, ")


def test_a_sweep_without_curves_has_no_verdicts(make_sweep: Make) -> None:
    assert learning.verdicts(load(make_sweep())) == []
    assert learning.summary([]) == ""
    assert len(learning.frame([])) == 0


def test_the_slope_and_its_interval_are_those_of_scipy() -> None:
    draw = np.random.default_rng(3)
    x = np.arange(9.0)
    y = 2 - 0.3 * x + draw.normal(size=9)
    found = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 7) * found.stderr
    assert learning.line_slope(list(x), list(y)) == pytest.approx((found.slope, found.slope - half, found.slope + half))
    assert learning.line_slope([0, 1], [1, 0]) == (-1, -math.inf, math.inf)
