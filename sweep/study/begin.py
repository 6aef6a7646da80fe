"""The study of a sweep that has been written: opened, with what does not fit on this device (no ray, no torch)."""

from __future__ import annotations

from search_spaces.samplers import choose
from sweep.request.pack_memory import refusing
from sweep.request.prepare import PreparedSweep
from sweep.study.study import SearchStudy, open_study
from sweep.study.warm_source import WarmSource, warm_source
from trainables.records.record import SweepFolder


def study_of(prepared: PreparedSweep, folder: SweepFolder) -> SearchStudy | None:
    """Return the study of a sweep that searches, None of a grid; `folder` carries the fence of the lease."""
    experiment = prepared.experiment
    if experiment.search is None:
        return None
    folders = prepared.bases.model_folders
    trains = [trial.trial.train for trial in prepared.planned.requested.to_come]
    infeasible = refusing(trains, experiment.evaluation, folders, prepared.device, prepared.options.memory_bytes)
    warm = warm_start_of(prepared)
    if warm is not None:
        manifest = folder.manifest()
        entry = {**(manifest.search or {}), "warm_start": warm.as_json()}
        folder.write_manifest(manifest.model_copy(update={"search": entry}))
    trials = warm.trials if warm else ()
    return open_study(folder, experiment, choose(experiment.search).name, infeasible, trials)


def warm_start_of(prepared: PreparedSweep) -> WarmSource | None:
    """Return what another sweep has for this one, where that is asked for."""
    name, resolved = prepared.options.warm_start, prepared.manifest.resolved
    if name is None:
        return None
    models = [entry.fingerprint for entry in resolved.models]
    return warm_source(name, prepared.experiment, models, resolved.data.fingerprint)
