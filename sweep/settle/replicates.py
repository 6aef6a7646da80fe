"""Replicates of those that a race has left: which seeds are to be run next, as the records of a sweep tell (no torch).

Only the first seed of each configuration has raced over examples. Those left are run again with the seeds after it, on
the examples of the last look, until their means settle the choice or no number of seeds that may be had would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from trainables.config import EvalConfig, TrialConfig
from trainables.jobs import TrialJob
from trainables.records import planned_trials
from trainables.records.record import SweepFolder, TrialRecord, config_content

if TYPE_CHECKING:
    from analysis.statistics.replicates import ReplicateRace

MeanOf = Callable[[TrialRecord], float | None]
"""Returns the mean score of a run on the examples of the last look, None where it has not been scored on them."""


@dataclass(frozen=True)
class NewReplicate:
    """A trial that a race adds to its sweep: a configuration with another seed."""

    trial: TrialConfig
    index: int
    name: str
    label: str

    @property
    def folder_name(self) -> str:
        return f"{self.index:03d}-{self.label}-{self.trial.train_id}"


@dataclass(frozen=True)
class ReplicateStep:
    """How the runs of those left compare, and what is to be run next; without jobs it is over."""

    race: ReplicateRace
    new: tuple[NewReplicate, ...] = ()
    jobs: tuple[TrialJob, ...] = ()

    def as_json(self) -> dict[str, Any] | None:
        """Return it as sweep.json keeps it, None before a second run."""
        return asdict(self.race) if math.isfinite(self.race.run_sd) else None


def seed_of(record: TrialRecord) -> int:
    return int(record.config()["train"]["seed"])


def replicate_step(
    folder: SweepFolder,
    names: Sequence[str],
    evaluation: EvalConfig,
    mean_of: MeanOf,
    margin: float,
    most: int,
    given_up: Collection[str] = (),
) -> ReplicateStep | None:
    """Return what is to be run of the configurations `names`; None where there is no choice between them.

    A seed that failed, or whose folder's name is in `given_up`, ends it: what is left of the configuration's runs says
    nothing of how often it fails.
    """
    from analysis.statistics.replicates import replicate_race

    records = [one for one in folder.records() if one.config()["name"] in names]
    runs = {name: {seed_of(one): one for one in records if one.config()["name"] == name} for name in names}
    means = {name: _means(runs[name], mean_of) for name in names}
    if len(names) < 2 or not all(means.values()):
        return None
    race = replicate_race(means, margin, most)
    if race.verdict != "going":
        return ReplicateStep(race)
    new: list[NewReplicate] = []
    jobs = []
    index = 1 + max(int(one.config()["index"]) for one in folder.records())
    for name in race.going:
        first = runs[name][min(runs[name])]
        for seed in range(min(runs[name]) + len(means[name]), min(runs[name]) + race.next_runs):
            there = runs[name].get(seed)
            if there is None:
                new.append(_with_seed(first, seed, index + len(new), evaluation))
                jobs.append(TrialJob(str(folder.trials_folder / new[-1].folder_name), new[-1].trial))
                continue
            result = there.result()
            if there.folder.name in given_up or (result is not None and not result.is_trained):
                return ReplicateStep(replace(race, verdict="used up", going=(), next_runs=0))
            jobs.append(TrialJob(str(there.folder), TrialConfig(train=there.train_config(), evaluation=evaluation)))
    return ReplicateStep(race, tuple(new), tuple(jobs))


def begin(folder: SweepFolder, new: Sequence[NewReplicate]) -> None:
    """Write the trials that a race adds: their configurations, and their entry in sweep.json."""
    if not new:
        return
    manifest = folder.manifest()
    configs = planned_trials.unpacked(manifest.trials) if manifest.trials else {}
    configs |= {one.folder_name: config_content(one.trial, one.index, one.name, one.label) for one in new}
    folder.write_manifest(manifest.model_copy(update={"trials": planned_trials.packed(configs)}))
    for one in new:
        record = TrialRecord(folder.trials_folder / one.folder_name, folder.fence)
        record.write_config(one.trial, one.index, one.name, one.label)


def _means(runs: dict[int, TrialRecord], mean_of: MeanOf) -> list[float]:
    """Return the means of runs in the order of their seeds, up to the first that has none."""
    found: list[float] = []
    while (record := runs.get(min(runs) + len(found))) is not None and (mean := mean_of(record)) is not None:
        found.append(mean)
    return found


def _with_seed(first: TrialRecord, seed: int, index: int, evaluation: EvalConfig) -> NewReplicate:
    config = first.config()
    train = first.train_config().model_copy(update={"seed": seed})
    label = f"{config['label'].removesuffix(f'-s{seed_of(first)}')}-s{seed}"
    return NewReplicate(TrialConfig(train=train, evaluation=evaluation), index, config["name"], label)
