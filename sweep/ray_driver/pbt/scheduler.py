"""Population-based training by Ray Tune over light trials: each population by itself, all other trials outside.

Ray's scheduler decides who takes over whom and how a learning rate moves. Ours is what Ray knows nothing of: a trial
keeps its name, a trial that continues has the knobs of its lineage, the checkpoint that a pointer names is kept until
whoever is told to take it has it, and no trial is paused for another one's sake, since all of them have a slot.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from ray.tune.schedulers import FIFOScheduler, PopulationBasedTraining, TrialScheduler

from sweep.ray_driver.early_stopping import METRIC, TIME
from sweep.ray_driver.pbt.groups import every_steps, mutated, populations
from trainables.config import TrainConfig
from trainables.records.atomic_files import DamagedFile
from trainables.records.lineage import pin, trained_with
from trainables.records.record import TrialRecord

QUANTILE = 0.25
RESAMPLE = 0.25  # how often a knob is drawn anew instead of moved by a fifth


class Population(PopulationBasedTraining):
    """The trials `members` (by key: what each began with), which may take over each other's weights."""

    def __init__(self, members: Mapping[str, TrainConfig], records: Mapping[str, TrialRecord]) -> None:
        first = next(iter(members.values()))
        self.members, self.records = members, records
        self.every = every_steps(first) or first.max_steps
        self.max_steps = first.max_steps
        self.knobs = mutated(list(members.values()))
        mutations: dict[str, Any] = {**self.knobs, "learning_rate": _drawn(self.knobs["learning_rate"])}
        super().__init__(
            time_attr=TIME, metric=METRIC, mode="min", perturbation_interval=self.every, quantile_fraction=QUANTILE,
            hyperparam_mutations=mutations, resample_probability=RESAMPLE, log_config=False,
        )  # fmt: skip

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial the knobs that its lineage has come to, and the number of its changes so far."""
        key = trial.config["trial"]
        lineage = self.records[key].lineage()
        now = trained_with(self.members[key], lineage)
        trial.config.update({name: float(getattr(now, name)) for name in self.knobs})
        trial.config["changes"] = max((line["number"] for line in lineage), default=0)
        trial.config["pointer_every"] = self.every
        super().on_trial_add(tune_controller, trial)

    def judge(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide on a trial at a step to which a pointer leads; its last step is past all changes."""
        step = int(result[TIME])
        if step % self.every or step >= self.max_steps:
            return TrialScheduler.CONTINUE
        pin(self.records[trial.config["trial"]], step)
        return str(self.on_trial_result(_Alone(tune_controller), trial, result))

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the donor's knobs, moved; Ray would give the trial the donor's name as well."""
        key, donor, number = trial.config["trial"], trial_to_clone.config["trial"], trial.config["changes"] + 1
        before = random.getstate()
        random.seed(f"{key} {number}")  # what is drawn depends on the trial and the change alone
        try:
            config, operations = super()._get_new_config(trial, trial_to_clone)
        finally:
            random.setstate(before)
        pin(self.records[donor], int(self._trial_state[trial_to_clone].last_train_time), key)
        return {**config, "trial": key, "changes": number}, operations


def _drawn(values: Sequence[float]) -> Callable[[], float]:
    """Return a draw over the range of these values, each order of magnitude as likely as another."""
    low, high = math.log(min(values)), math.log(max(values))
    if low == high:
        low, high = low - math.log(3), high + math.log(3)
    return lambda: math.exp(random.uniform(low, high))


class _Alone:
    """The controller as if no trial waited: Ray would have each pause in turn, as where there are fewer slots."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def get_trials(self) -> list[Any]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


class Populations(FIFOScheduler):
    """Asks the population of each trial, and lets those of none run to their end."""

    def __init__(self, found: Sequence[Population]) -> None:
        super().__init__()
        self.by_trial = {key: population for population in found for key in population.members}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return True  # each population has its own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        population = self.by_trial.get(trial.config["trial"])
        if population is not None:
            population.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        population = self.by_trial.get(trial.config["trial"])
        if population is None or METRIC not in result:
            return TrialScheduler.CONTINUE
        return population.judge(tune_controller, trial, result)


def populations_of(records: Sequence[TrialRecord], unfinished: Mapping[str, TrainConfig]) -> FIFOScheduler:
    """Return the scheduler over the trials `unfinished` of a sweep with these records.

    A population is what the sweep asked for: on resume it goes on with those of its trials that are left.
    """
    asked = {}
    for record in records:
        with contextlib.suppress(DamagedFile, ValidationError):  # of an earlier request: this one's are whole
            asked[record.folder.name] = record.train_config()
    by_name = {record.folder.name: record for record in records}
    found = []
    for group in populations({**asked, **unfinished}):
        members = {key: unfinished[key] for key in group if key in unfinished}
        if len(members) > 1:
            found.append(Population(members, {key: by_name[key] for key in members}))
    return Populations(found)
