"""Which trials can share a pack, in what order packs come, and how trials are spread over engines (no torch, no ray).

A pack trains over one base: trials that differ in model, quantization or precision cannot share one. Jobs are ordered
by pack and spread in whole packs where that keeps engines about equally busy, so that an engine loads each base once.
Limits of length may differ within a pack: a row is padded to a bucket of its own, never to its neighbours'.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from trainables.config import TrainConfig, TrialConfig
from trainables.jobs import BaseKey, TrialJob, key_of

EVALUATION_WORK = 2  # of an example that is evaluated, in rows that are trained on
SPLIT_COST = 0.25  # of an engine's share: what more of unequal work is worth not to split a pack


def by_pack(jobs: Iterable[TrialJob]) -> list[TrialJob]:
    """Return jobs pack by pack, packs in the order of their first job, else in the order given."""
    packs: dict[BaseKey, list[TrialJob]] = {}
    for job in jobs:
        packs.setdefault(key_of(job.trial.train), []).append(job)
    return list(itertools.chain.from_iterable(packs.values()))


def describe(trains: Iterable[TrainConfig]) -> list[str]:
    """Return a phrase per pack: its base, its limits of length, its trials."""
    packs: dict[BaseKey, list[TrainConfig]] = {}
    for train in trains:
        packs.setdefault(key_of(train), []).append(train)
    return [_phrase(key, members) for key, members in packs.items()]


def sentence(trains: Iterable[TrainConfig]) -> str | None:
    """Say into which packs trials are grouped, None where one pack takes them all."""
    phrases = describe(trains)
    return listed(phrases) if len(phrases) > 1 else None


def listed(phrases: Sequence[str]) -> str:
    """Return the phrases of several packs as a sentence."""
    return f"{len(phrases)} packs: {'; '.join(phrases)}"


def of_bases(trains: Iterable[TrainConfig]) -> str | None:
    """Say which bases a search moves between, None where all its points share one."""
    keys = dict.fromkeys(key_of(train) for train in trains)
    names = [" ".join(part for part in key if part != "none") for key in keys]
    if len(names) < 2:
        return None
    return f"{len(names)} bases: {'; '.join(names)}; points of different ones cannot share a pack, which is less full"


def _phrase(key: BaseKey, members: Sequence[TrainConfig]) -> str:
    model, quantization, precision = key
    limits = sorted({train.max_length_tokens for train in members})
    tokens = f"{limits[0]} tokens" if len(limits) == 1 else f"{limits[0]} to {limits[-1]} tokens"
    base = " ".join(part for part in (model, quantization, precision) if part != "none")
    return f"{base} {tokens}: {len(members)} trial{'s' if len(members) > 1 else ''}"


def spread_jobs(jobs: Iterable[TrialJob], weights: Sequence[float]) -> list[list[TrialJob]]:
    """Share jobs out to engines of these speeds: runs of the order by pack, in whole packs where that costs little.

    Every engine has a job where there are as many jobs as engines.
    """
    ordered = by_pack(jobs)
    done = list(itertools.accumulate((work_of(job.trial) for job in ordered), initial=0.0))
    keys = [key_of(job.trial.train) for job in ordered]
    cuts = [0]
    for number in range(1, len(weights)):
        target = done[-1] * sum(weights[:number]) / sum(weights)
        split_cost = SPLIT_COST * done[-1] / len(weights)
        lowest, highest = cuts[-1] + 1, len(ordered) - (len(weights) - number)
        places = range(lowest, highest + 1) or range(len(ordered), len(ordered) + 1)

        def cost(place: int, target: float = target, split_cost: float = split_cost) -> float:
            splits = 0 < place < len(ordered) and keys[place - 1] == keys[place]
            return abs(done[place] - target) + split_cost * splits

        cuts.append(min(places, key=cost))
    return [ordered[start:stop] for start, stop in itertools.pairwise([*cuts, len(ordered)])]


def work_of(trial: TrialConfig) -> float:
    """Return about how much a trial has to do, in rows that are trained on."""
    train, examples = trial.train, sum(trial.evaluation.examples.values())
    rows = train.max_steps * train.batch_size * train.gradient_accumulation_steps
    return float(rows + EVALUATION_WORK * examples)
