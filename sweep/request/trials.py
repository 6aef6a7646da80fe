"""From an experiment to its trials: names, letters, indices, and what of them is left to do (no torch, no ray).

A trial is found by its identity alone. Index and letter are given once, in order of first request, and never change:
what a sweep folder already holds keeps its names, and new trials are numbered after them.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.format.columns import MAIN_AXES
from search_spaces.experiment import Experiment
from search_spaces.grid import size_of
from sweep.cli_support.counting import counted
from trainables.config import BASELINE_FIELDS, NOT_WEIGHTS, EvalConfig, TrainConfig, TrialConfig, configured, digest
from trainables.errors import UserError
from trainables.jobs import TrialJob
from trainables.records import atomic_files
from trainables.records.finished import is_finished
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import FAILURES

MOST_TRIALS = 20_000  # of a sweep: each is a folder with its records
SHORT = {"lora_rank": "r", "learning_rate": "lr"}
BARE = ("prompt", "model", "quantization", "precision", "target_modules", "optimizer", "schedule")  # values say enough


@dataclass(frozen=True)
class KnownTrial:
    """A trial that a sweep folder already holds; `train` is empty where only its folder's name tells what it is."""

    index: int
    name: str
    label: str
    train_id: str
    train: dict[str, Any]
    record: TrialRecord


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan; `name` is the letter that replicates share, `label` tells them apart."""

    trial: TrialConfig
    index: int
    name: str
    label: str
    folder_name: str

    @property
    def is_baseline(self) -> bool:
        return self.trial.train.is_baseline


def known_trials(folder: SweepFolder) -> list[KnownTrial]:
    """Return the trials of a sweep folder by index; where a config.json cannot be read, the folder's name has to do."""
    found = []
    for record in folder.records():
        try:
            content = record.config()
        except (FileNotFoundError, atomic_files.DamagedFile):
            found.append(_known_by_name(record))
            continue
        keys = ("index", "name", "label", "train_id", "train")
        found.append(KnownTrial(**{key: content[key] for key in keys}, record=record))
    return found


def _known_by_name(record: TrialRecord) -> KnownTrial:
    index, rest = record.folder.name.split("-", 1)
    label, train_id = rest.rsplit("-", 1)
    baseline = re.match(r"(zero-shot)-(.+?)(-s\d+)?$", label)
    name = f"{baseline[1]} {baseline[2]}" if baseline else label.split("-")[0]
    return KnownTrial(int(index), name, label, train_id, {}, record)


def plan_trials(
    experiment: Experiment,
    seeds: int = 1,
    known: Sequence[KnownTrial] = (),
    configurations: Sequence[TrainConfig] | None = None,
) -> list[PlannedTrial]:
    """Return configurations (replicate by replicate), then baselines, each once; names of `known` trials are kept.

    `configurations` are the experiment's where they have been made already.
    """
    check_seeds(experiment, seeds)
    replicates = list(_replicates(experiment.configurations() if configurations is None else configurations, seeds))
    trained = [train for train in replicates if not train.is_baseline]
    trains = (*trained, *baselines_of(replicates, experiment.evaluation))
    trials = [TrialConfig(train=train, evaluation=experiment.evaluation) for train in trains]
    return name_trials(experiment, trials, known)


def name_trials(
    experiment: Experiment, trials: Collection[TrialConfig], known: Sequence[KnownTrial]
) -> list[PlannedTrial]:
    """Return trials with their names, each once; names of `known` trials are kept."""
    names = TrialNames(experiment, known)
    planned: dict[str, PlannedTrial] = {}
    for trial in counted(trials, "naming the trials"):
        identity = trial.train_id
        if identity not in planned:
            planned[identity] = names.give(trial, identity)
    return list(planned.values())


def check_seeds(experiment: Experiment, seeds: int) -> None:
    """Raise UserError for replicates that cannot be, or make too many trials."""
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {seeds}")
    if seeds > 1 and experiment.search is not None:
        raise UserError(f"--seeds {seeds} and a search exclude each other: a search spends its trials on new points")
    if seeds > 1 and "seed" in experiment.grid.axes:
        raise UserError(f"--seeds {seeds} and the axis seed exclude each other: give one of them")
    count = experiment.search.trials if experiment.search else size_of(experiment.grid)
    if seeds * count > MOST_TRIALS:
        raise UserError(
            f"a sweep may have at most {MOST_TRIALS:,} trials, got {seeds * count:,}: "
            f"--seeds {seeds} of {count} configurations"
        )


def _replicates(configurations: Sequence[TrainConfig], seeds: int) -> Iterator[TrainConfig]:
    for replicate in range(seeds):
        for train in configurations:
            yield train if not replicate else train.model_copy(update={"seed": train.seed + replicate})


def baselines_of(configurations: Iterable[TrainConfig], evaluation: EvalConfig) -> Iterator[TrainConfig]:
    """Yield one zero-step trial per prompt and base; what training alone reads is at its default."""
    keys = (
        *BASELINE_FIELDS,
        "tokenization",
        "data_seed",
        "train_examples",
        *(["seed"] if evaluation.decoding.strategy == "sample" else []),
    )
    for values in dict.fromkeys(tuple(getattr(train, key) for key in keys) for train in configurations):
        yield configured(TrainConfig, {**dict(zip(keys, values, strict=True)), "max_steps": 0})


class TrialNames:
    """Gives every trial its index, letter and label, once; those of `known` trials are kept."""

    def __init__(self, experiment: Experiment, known: Sequence[KnownTrial]) -> None:
        self.experiment = experiment
        self.by_identity = {trial.train_id: trial for trial in known}
        whole = [trial for trial in known if trial.train]
        self.baselines = {_baseline_key(trial.train): trial for trial in whole if trial.train["max_steps"] == 0}
        self.letters = {_without_seed(trial.train): trial.name for trial in whole if trial.train["max_steps"]}
        taken = {trial.name for trial in known}
        self.free_letters = (letter for letter in letters() if letter not in taken)
        self.free_index = itertools.count(1 + max((trial.index for trial in known), default=0))

    def give(self, trial: TrialConfig, identity: str) -> PlannedTrial:
        """Return a trial with its names; one that is not known has others at each call."""
        old = self.by_identity.get(identity)
        if old is None and trial.train.is_baseline:
            # Sampling puts the seed into a baseline's identity; its weights are the base's all the same.
            old = self.baselines.get(_baseline_key(trial.train.model_dump(mode="json")))
        if old is not None:
            return PlannedTrial(trial, old.index, old.name, old.label, old.record.folder.name)
        name, label = self._baseline(trial) if trial.train.is_baseline else self._configuration(trial)
        index = next(self.free_index)
        return PlannedTrial(trial, index, name, label, f"{index:03d}-{label}-{identity}")

    def _configuration(self, trial: TrialConfig) -> tuple[str, str]:
        train = trial.train
        key = _without_seed(train.model_dump(mode="json"))
        if key not in self.letters:
            self.letters[key] = next(self.free_letters)
        searched = [axis.field for axis in self.experiment.search.axes] if self.experiment.search else []
        every = dict.fromkeys((*self.experiment.grid.axes, *searched))
        axes = [axis for axis in every if axis not in (*MAIN_AXES, "seed")]
        parts = [_part(name, getattr(train, name)) for name in (*MAIN_AXES, *axes)]
        return self.letters[key], _file_name("-".join((self.letters[key], *parts, f"s{train.seed}")))

    def _baseline(self, trial: TrialConfig) -> tuple[str, str]:
        train, base = trial.train, self.experiment.grid.base
        differs = ("model", "quantization", "precision", "max_length_tokens")
        extra = [_part(name, getattr(train, name)) for name in differs if getattr(train, name) != getattr(base, name)]
        name = " ".join(("zero-shot", train.prompt, *extra))
        seed = f"-s{train.seed}" if trial.evaluation.decoding.strategy == "sample" else ""
        return name, _file_name(name.replace(" ", "-") + seed)


def letters() -> Iterator[str]:
    """Yield A, B, ..., Z, AA, AB, ..."""
    for length in itertools.count(1):
        for letters in itertools.product("ABCDEFGHIJKLMNOPQRSTUVWXYZ", repeat=length):
            yield "".join(letters)


def jobs_left(folder: SweepFolder, planned: Iterable[PlannedTrial], retry_failed: bool = False) -> list[TrialJob]:
    """Return what is not finished, baselines first: no whole result, adapter or evaluation under this identity."""
    left = []
    for trial in sorted(planned, key=lambda trial: (not trial.is_baseline, trial.index)):
        path = folder.trials_folder / trial.folder_name
        job = TrialJob(str(path), trial.trial)
        result = TrialRecord(path).result()
        is_retried = retry_failed and result is not None and result.state in FAILURES
        if is_retried or not is_finished(job):
            left.append(job)
    return left


def retry_sentence(states: Iterable[str], line: str = "the same command") -> str | None:
    """Say how the trials that failed, diverged or ran out of memory run again; None where there are none."""
    counts = Counter(state for state in states if state in FAILURES)
    if not counts:
        return None
    told = " and ".join(f"{count} {state}" for state, count in counts.items())
    return f"{told}: such trials run again only with --retry-failed: {line} --retry-failed"


def _part(field: str, value: Any) -> str:
    """Write one axis value for a label: r8, lr0.0005, v1, max_steps64."""
    text = "+".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if _is_float(value) else str(value)
    return f"{'' if field in BARE else SHORT.get(field, field)}{text}"


def _is_float(value: Any) -> bool:
    return isinstance(value, float)


def _file_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", label)[:100]


def _without_seed(train: dict[str, Any]) -> str:
    whole = {"tokenization"} if train.get("tokenization") == "whole" else set()
    fields = whole | train.keys() - {*NOT_WEIGHTS, "seed", "tokenization"}
    return digest({key: train[key] for key in fields})


def _baseline_key(train: dict[str, Any]) -> str:
    whole = ("tokenization",) if train.get("tokenization") == "whole" else ()
    return digest({key: train[key] for key in (*BASELINE_FIELDS, "seed", *whole)})
