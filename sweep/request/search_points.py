"""The trials of a request by name: of a grid all, of a search the points that its sweep holds (no torch, no ray).

What a search will still try is not known; configurations at the ends of its axes stand for it where a request is
judged: its lengths, its memory, its disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.points import Parameters, Search, cells, parameters_of
from sweep.request.trials import KnownTrial, PlannedTrial, baselines_of, check_seeds, name_trials, plan_trials
from trainables.config import BASELINE_FIELDS, EvalConfig, TrainConfig, TrialConfig, configured
from trainables.records import journal
from trainables.records.record import SweepFolder


@dataclass(frozen=True)
class RequestedTrials:
    """The trials of a request by the names that they have or will have; `to_come` stands for what a search may try."""

    trials: tuple[PlannedTrial, ...]
    to_come: tuple[PlannedTrial, ...] = ()
    held: int = 0  # points of the search that the sweep has
    remaining: int = 0  # points to be asked for

    @property
    def judged(self) -> tuple[PlannedTrial, ...]:
        """Return what is judged before a run: all that may be read, trained and evaluated in it."""
        names = {trial.folder_name for trial in self.trials}
        return (*self.trials, *(trial for trial in self.to_come if trial.folder_name not in names))


def requested_trials(
    experiment: Experiment,
    seeds: int = 1,
    known: Sequence[KnownTrial] = (),
    configurations: Sequence[TrainConfig] | None = None,
    folder: SweepFolder | None = None,
) -> RequestedTrials:
    """Return the trials of a request; `known` are those of its sweep's `folder`.

    `configurations` are the experiment's where they have been made already.
    """
    space = experiment.search
    if space is None:
        return RequestedTrials(tuple(plan_trials(experiment, seeds, known, configurations)))
    check_seeds(experiment, seeds)
    held = points_held(experiment, known)
    trains = [trial.train for trial, _ in held]
    zero = baselines_of([*_readings(space, experiment), *trains], experiment.evaluation)
    trials = [*(trial for trial, _ in held), *_evaluated(zero, experiment.evaluation)]
    infeasible = journal.read(folder.infeasible_path).rows if folder is not None else []
    left = remaining(space, [point for _, point in held], [one["parameters"] for one in infeasible])
    stand_ins = experiment.configurations() if configurations is None else configurations
    to_come = _evaluated(stand_ins, experiment.evaluation) if left else []
    return RequestedTrials(
        trials=tuple(name_trials(experiment, trials, known)),
        to_come=tuple(name_trials(experiment, to_come, known)),
        held=len(held),
        remaining=left,
    )


def points_held(experiment: Experiment, known: Sequence[KnownTrial]) -> list[tuple[TrialConfig, Parameters]]:
    """Return the trials of a sweep that are points of the search, whoever chose them, with their parameters."""
    found = []
    for one in known:
        if one.train and (point := point_in(experiment, configured(TrainConfig, one.train), one.train_id)):
            found.append(point)
    return found


def point_in(experiment: Experiment, train: TrainConfig, train_id: str) -> tuple[TrialConfig, Parameters] | None:
    """Return a kept configuration as a point of the search, None where it is none or its prompt has another text."""
    assert experiment.search is not None
    parameters = parameters_of(experiment.search, train)
    if parameters is None or train.is_baseline:
        return None
    trial = TrialConfig(train=experiment.filled_in(train), evaluation=experiment.evaluation)
    return (trial, parameters) if trial.train_id == train_id else None


def remaining(space: Search, held: Collection[Parameters], infeasible: Collection[Mapping[str, Any]] = ()) -> int:
    """Return how many points are still to be asked for: of the trials, and of the cells where these can be listed."""
    wanted = max(0, space.trials - len(held))
    listed = cells(space) if wanted else None
    if listed is None:
        return wanted
    tried = {_key(point) for point in (*held, *infeasible)}
    return min(wanted, sum(_key(cell) not in tried for cell in listed))


def _readings(space: Search, experiment: Experiment) -> Iterator[TrainConfig]:
    """Yield the base with every combination of what a baseline depends on."""
    axes = {name: values for name, values in experiment.grid.axes.items() if name in BASELINE_FIELDS}
    fields = space.base.model_dump()
    for point in itertools.product(*axes.values()):
        yield experiment.filled_in(configured(TrainConfig, {**fields, **dict(zip(axes, point, strict=True))}))


def _evaluated(trains: Iterable[TrainConfig], evaluation: EvalConfig) -> list[TrialConfig]:
    return [TrialConfig(train=train, evaluation=evaluation) for train in trains]


def _key(point: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, tuple(value) if isinstance(value, list) else value) for name, value in point.items()))
