"""What sweep.json keeps of a search: its space as resolved, the sampler that was chosen, and why (no torch, no ray)."""

from __future__ import annotations

from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.samplers import choose
from search_spaces.search import as_json
from trainables.records.manifest import SweepManifest


def search_entry(experiment: Experiment) -> dict[str, Any] | None:
    """Return the entry of an experiment's search, None of a grid."""
    space = experiment.search
    if space is None:
        return None
    return {**as_json(space), "chosen": choose(space).as_json()}


def with_search_entry(manifest: SweepManifest, experiment: Experiment) -> SweepManifest:
    """Return sweep.json with the search that is asked for, or without one where a grid is."""
    entry = search_entry(experiment)
    if entry is None and manifest.search is None:
        return manifest  # as sweeps were before there were searches
    kept = {name: one for name, one in (manifest.search or {}).items() if name == "warm_start"}
    return manifest.model_copy(update={"search": entry and {**kept, **entry}})
