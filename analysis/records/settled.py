"""The race of a sweep that was run with `--settle`, as sweep.json keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis.statistics.racing import Look, Race, Standing
from analysis.statistics.replicates import ReplicateRace
from trainables.records.manifest import SweepManifest


@dataclass(frozen=True)
class SettledRace:
    """How a race stands, or ended, and how many texts it took of those that all on all examples would have taken."""

    race: Race
    metric: str
    most: int  # examples that it could have gone up to
    is_over: bool  # and reported on
    texts: int
    texts_of_all: int
    replicates: ReplicateRace | None = None  # of those left, where seeds were added


def race_of(sweep: SweepManifest) -> SettledRace | None:
    """Return the race of a sweep, None where it had none or nothing has been looked at."""
    kept = sweep.settle
    if not kept or not kept.get("race"):
        return None
    values = dict(kept["race"])
    values["looks"] = tuple(Look(**_with_tuples(one)) for one in values["looks"])
    values["standings"] = tuple(Standing(**one) for one in values["standings"])
    values["going"] = tuple(values["going"])
    most = int(kept["whole"]["validation_examples"])
    seeds = kept.get("replicates")
    replicates = ReplicateRace(**_with_tuples(seeds)) if seeds else None
    counts = (kept["texts"], kept["texts_of_all"])
    return SettledRace(Race(**values), kept["metric"], most, kept["is_over"], *counts, replicates)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
