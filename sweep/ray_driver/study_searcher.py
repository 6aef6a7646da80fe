"""A search as Ray Tune's Searcher: Tune runs the trials that the places of the engines are given to.

Not Ray's OptunaSearch. It leaves a trial with a NaN or without the objective RUNNING for ever, tells one that ASHA has
stopped as COMPLETE with an early value, and keeps a study of its own, which would be the truth beside the records.
Here Tune's results are read for the curve alone; how a trial has ended is read from its record.
"""

from __future__ import annotations

import math
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from sweep.ray_driver.search_places import SearchPlaces


class StudySearcher(Searcher):
    """Gives Tune the trials that have places, each bound to its engine; `most` are followed at a time."""

    def __init__(self, places: SearchPlaces, most: int) -> None:
        super().__init__(metric="eval_loss", mode="min")
        self.places = places
        self.most = most
        self._followed: dict[str, str] = {}  # key by Tune's name for the trial

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        return True  # the space is the study's

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial to follow, None where there is none for now."""
        self.places.fill()
        if self.places.is_over:
            return str(Searcher.FINISHED)
        if not self.places.begun or len(self._followed) >= self.most:
            return None
        key = self.places.begun.pop(0)
        self._followed[trial_id] = key
        return {"trial": key, "engines": [self.places.engine_of.get(key, next(iter(self.places.places)))]}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        key, loss = self._followed[trial_id], result.get("eval_loss")
        study = self.places.trials.study
        # A trial that has ended before it was followed has been told whole.
        if study is not None and key in self.places.engine_of and loss is not None and math.isfinite(loss):
            study.report(key, int(result["step"]), float(loss))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.places.left(self._followed.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the records are what a search goes on from."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""

    def __reduce__(self) -> Any:
        return left_out, ()


class PlaceFiller(Callback):
    """Fills places at every turn of Tune's loop, also while Tune wants no further trial."""

    def __init__(self, places: SearchPlaces) -> None:
        self.places = places

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.places.fill()

    def __reduce__(self) -> Any:
        return left_out, ()


def left_out() -> None:
    """Stand in Tune's own copy, which is never used, for what cannot be copied."""
