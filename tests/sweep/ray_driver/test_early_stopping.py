"""Early stopping as Ray Tune's schedulers decide it: who is judged, who is told, and that nothing is judged twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import FIFOScheduler
from small_sweep import BASE

from sweep.ray_driver.early_stopping import StoppingScheduler, scheduler_of
from trainables.config import TrainConfig

TRAIN = TrainConfig(**{**BASE, "max_steps": 16, "eval_every_steps": 2})


@dataclass(frozen=True)
class TuneTrial:
    """What a scheduler sees of a trial."""

    trial_id: str

    @property
    def config(self) -> dict[str, Any]:
        return {"trial": self.trial_id}


def judge(kind: str, keys: str, curves: dict[str, list[float]] | None = None) -> tuple[StoppingScheduler, list[str]]:
    """Return the scheduler over trials named by one letter each, and the list of those that it has stopped."""
    stopped: list[str] = []
    rows = {
        name: [{"step": 2 * (number + 1), "eval_loss": loss} for number, loss in enumerate(losses)]
        for name, losses in (curves or {}).items()
    }
    made = scheduler_of(kind, [TRAIN] * len(keys), keys.__contains__, rows.items(), stopped.append)
    assert isinstance(made, StoppingScheduler)
    for key in keys:
        made.on_trial_add(None, TuneTrial(key))
    return made, stopped


def report(made: StoppingScheduler, key: str, step: int, loss: float) -> str:
    return made.on_trial_result(None, TuneTrial(key), {"step": step, "eval_loss": loss})


def test_a_trial_that_asha_stops_is_told_at_once_and_no_other_one() -> None:
    made, stopped = judge("asha", "abc")
    assert [report(made, key, 2, loss) for key, loss in (("a", 1.0), ("b", 3.0), ("c", 0.5))] == [
        "CONTINUE",
        "STOP",
        "CONTINUE",
    ]
    assert stopped == ["b"]


def test_whoever_was_let_through_by_reporting_first_is_stopped_a_report_later() -> None:
    made, stopped = judge("asha", "abcdef")
    losses = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 2.0, "f": 1.0}  # each better than all before it
    assert [report(made, key, 2, loss) for key, loss in losses.items()] == ["CONTINUE"] * 6
    best = [key for key, loss in losses.items() if loss <= np.percentile(list(losses.values()), 100 / 3)]
    assert [key for key in losses if report(made, key, 4, 0.1) == "CONTINUE"] == best == ["e", "f"]
    assert stopped == ["a", "b", "c", "d"]


def test_between_rungs_nobody_is_stopped() -> None:
    made, stopped = judge("asha", "ab")
    report(made, "a", 2, 1.0)
    report(made, "b", 2, 0.9)
    assert report(made, "b", 4, 50.0) == "CONTINUE"
    report(made, "a", 6, 0.8)
    assert report(made, "b", 6, 50.0) == "STOP"
    assert stopped == ["b"]


def test_a_report_that_is_replayed_is_not_judged_again() -> None:
    made, stopped = judge("asha", "ab")
    report(made, "a", 2, 3.0)
    report(made, "b", 2, 1.0)
    assert report(made, "a", 2, 3.0) == "CONTINUE"
    assert stopped == []


def test_trials_of_earlier_runs_are_what_new_ones_are_measured_by() -> None:
    made, stopped = judge("asha", "a", {"old": [1.0, 0.9, 0.8]})
    assert report(made, "a", 2, 1.5) == "STOP"
    assert stopped == ["a"]


def test_the_median_rule_tells_too() -> None:
    made, stopped = judge("median", "a", {name: [1.0, 0.9, 0.8] for name in ("x", "y", "z")})
    assert report(made, "a", 2, 5.0) == "STOP"
    assert stopped == ["a"]


def test_a_trial_outside_the_judged_ones_runs_to_its_end() -> None:
    made, stopped = judge("asha", "a")
    report(made, "a", 2, 0.1)
    assert report(made, "baseline", 2, 90.0) == "CONTINUE"
    assert stopped == []


@pytest.mark.parametrize(("kind", "keys"), [("none", "a"), ("asha", "")])
def test_without_a_rule_or_a_trial_to_judge_nothing_is_judged(kind: str, keys: str) -> None:
    made = scheduler_of(kind, [TRAIN] * len(keys), keys.__contains__, [], lambda key: None)
    assert type(made) is FIFOScheduler


def test_a_point_that_a_search_adds_later_is_judged_like_those_before_it() -> None:
    stopped: list[str] = []
    made = scheduler_of("asha", [TRAIN], lambda key: key != "zero-shot", [], stopped.append)
    for key, loss in (("first", 1.0), ("zero-shot", 9.0), ("later", 3.0)):
        made.on_trial_add(None, TuneTrial(key))  # type: ignore[arg-type]
        made.on_trial_result(None, TuneTrial(key), {"step": 2, "eval_loss": loss})  # type: ignore[arg-type]
    assert stopped == ["later"]
