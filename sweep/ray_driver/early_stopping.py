"""Early stopping by evaluation loss over optimizer steps, with baselines and finished trials outside (Ray Tune)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from sweep.ray_driver.asha import LastingASHA
from sweep.ray_driver.tune_trial import NAMESPACE
from trainables.config import TrainConfig
from trainables.records.record import SweepFolder

METRIC, TIME = "eval_loss", "step"


@dataclass(frozen=True)
class RecordedTrial:
    """A finished trial of an earlier run, as Tune's scheduler is shown it: by an id alone."""

    trial_id: str


class StoppingScheduler(FIFOScheduler):
    """Asks the inner scheduler about the trials that `is_judged` names and lets every other one run to its end.

    `stop` ends a trial's run. Tune ends no more than the light trial, whose process may be gone before it can say so.
    """

    def __init__(self, inner: TrialScheduler, is_judged: Callable[[str], bool], stop: Callable[[str], None]) -> None:
        super().__init__()
        self.inner = inner
        self.is_judged = is_judged
        self.stop = stop
        self._seen: dict[str, float] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # the inner one has its own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if self._is_judged(trial):
            self.inner.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if not self._is_judged(trial) or METRIC not in result:
            return TrialScheduler.CONTINUE
        if result[TIME] <= self._seen.get(trial.trial_id, -1):
            return TrialScheduler.CONTINUE  # a restarted trial replays what was judged already
        self._seen[trial.trial_id] = result[TIME]
        decision = str(self.inner.on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP:
            self.stop(trial.config["trial"])
        return decision

    def _is_judged(self, trial: Any) -> bool:
        return "trial" in trial.config and self.is_judged(trial.config["trial"])


def stop_in(engines: Iterable[str], key: str) -> None:
    """Tell the engines of these names, one of which runs it, that this trial ends at the step that it has reported."""
    for name in engines:
        with contextlib.suppress(ValueError):  # gone: the engine that inherits the trial has it judged again
            ray.get_actor(name, namespace=NAMESPACE).stop.remote(key)


def scheduler_of(
    kind: str,
    trains: Collection[TrainConfig],
    is_judged: Callable[[str], bool],
    curves: Iterable[tuple[str, list[dict[str, Any]]]],
    stop: Callable[[str], None],
) -> FIFOScheduler:
    """Return the scheduler of that kind over the trials that `is_judged` names, knowing the finished ones' curves.

    `trains`: configurations as long, and evaluated as seldom, as any that is judged. `curves`: (name, rows with `step`
    and `eval_loss`) of finished trials, by index. `stop`: see `StoppingScheduler`.
    """
    if kind == "none" or not trains:
        return FIFOScheduler()
    longest = max(train.max_steps for train in trains)
    # Nothing is judged before its first evaluation, nor in the first eighth of the steps.
    grace = max(1, longest // 8, *(train.eval_every_steps for train in trains))
    inner: TrialScheduler
    if kind == "asha":
        inner = LastingASHA(
            time_attr=TIME, metric=METRIC, mode="min", max_t=longest + 1, grace_period=min(grace, longest),
            reduction_factor=3, stop_last_trials=False,
        )  # fmt: skip
    else:
        # An infinite slice: this rule would otherwise pause trials to wait for others.
        inner = MedianStoppingRule(
            time_attr=TIME, metric=METRIC, mode="min", grace_period=grace, min_time_slice=float("inf")
        )
    for name, rows in curves:
        trial = RecordedTrial(name)
        inner.on_trial_add(None, trial)
        for row in rows:
            inner.on_trial_result(None, trial, row)
    return StoppingScheduler(inner, is_judged, stop)


def finished_curves(folder: SweepFolder, judged: set[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return key and evaluations of the finished trials that are not judged anew, without baselines."""
    curves = []
    for record in folder.records():
        if record.folder.name not in judged and record.result_path.exists():
            rows = [row for row in record.metrics() if row["kind"] == "eval"]
            if rows and record.config()["kind"] != "baseline":
                curves.append((record.folder.name, rows))
    return curves
