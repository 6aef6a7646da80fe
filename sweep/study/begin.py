"""The study of a sweep that has been written: opened, with what does not fit on this device (no ray, no torch)."""

from __future__ import annotations

from search_spaces.samplers import choose
from sweep.request.pack_memory import refusing
from sweep.request.prepare import PreparedSweep
from sweep.study.study import SearchStudy, open_study
from trainables.records.record import SweepFolder


def study_of(prepared: PreparedSweep, folder: SweepFolder) -> SearchStudy | None:
    """Return the study of a sweep that searches, None of a grid; `folder` carries the fence of the lease."""
    experiment = prepared.experiment
    if experiment.search is None:
        return None
    folders = prepared.bases.model_folders
    trains = [trial.trial.train for trial in prepared.planned.requested.to_come]
    infeasible = refusing(trains, experiment.evaluation, folders, prepared.device, prepared.options.memory_bytes)
    return open_study(folder, experiment, choose(experiment.search).name, infeasible)
