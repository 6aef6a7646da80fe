"""A request that has been judged is written: sweep.json, examples, trials, under the lease of the sweep (no torch)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.experiment import Experiment
from sweep.cli_support.continue_command import with_command
from sweep.cli_support.counting import counted
from sweep.environment import lease
from sweep.request.examples import Examples
from sweep.request.existing_sweep import ExistingSweep
from sweep.request.prepare import PreparedSweep
from sweep.request.repair import is_damaged, mend, trials_entry
from sweep.request.run_options import RunOptions
from sweep.request.search_entry import with_search_entry
from sweep.request.settling import begin_replicates, left_to_do
from sweep.request.trials import PlannedTrial, known_trials, name_trials
from sweep.settle.next_step import next_step, told
from sweep.settle.settle_plan import SettlePlan
from trainables.config import eval_id
from trainables.jobs import TrialJob
from trainables.records import atomic_files
from trainables.records.damage import adapter_is_whole
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord


@dataclass(frozen=True)
class Committed:
    """A sweep that has been written: its trials, what of them is left to run, what was done about damaged files."""

    planned: tuple[PlannedTrial, ...]
    left: tuple[TrialJob, ...]
    mended: tuple[str, ...]


def commit(prepared: PreparedSweep, folder: SweepFolder) -> Committed:
    """Write sweep.json, the examples and every planned trial's configuration; what is damaged is mended.

    `folder` carries the fence of the lease that is held by now; names are given under it.
    """
    retry = prepared.options.retry_failed
    manifest = asked(prepared.manifest, prepared.experiment, prepared.options, prepared.race, folder)
    sums = _write_examples(folder, prepared.examples, manifest.files)
    trials = [one.trial for one in prepared.planned.trials]
    planned = name_trials(prepared.experiment, trials, known_trials(folder))
    written = {"files": {**manifest.files, **sums}, "trials": trials_entry(folder, planned)}
    folder.write_manifest(manifest.model_copy(update=written))
    mended = mend(folder)
    race = None if prepared.planned.requested.remaining else prepared.race
    begin_replicates(folder, planned, retry, race)
    left = left_to_do(folder, planned, retry, race)
    again = {job.folder for job in left}
    for trial in counted(planned, "writing the trials' configurations"):
        record = TrialRecord(folder.trials_folder / trial.folder_name, folder.fence)
        if not record.config_path.exists():
            record.write_config(trial.trial, trial.index, trial.name, trial.label)
        if str(record.folder) in again and not adapter_is_whole(record):
            mended.append(f"{trial.folder_name}: its adapter is damaged and set aside: it runs again")
            record.set_adapter_aside()
        if retry and str(record.folder) in again:
            start_over(record)
    return Committed(tuple(planned), tuple(left), tuple(mended))


def _write_examples(folder: SweepFolder, examples: Examples, kept: Mapping[str, str]) -> dict[str, str]:
    """Write the examples and return their checksums by name; a file that is not what sweep.json says is set aside."""
    for path, rows in examples.items():
        if path.exists() and atomic_files.sha256_of(path) != kept.get(path.name, atomic_files.sha256_of(path)):
            atomic_files.set_aside(path)
        folder.write_examples(path, (example.row() for example in rows))
    return {path.name: atomic_files.sha256_of(path) for path in examples}


def asked(
    manifest: SweepManifest, experiment: Experiment, options: RunOptions, race: SettlePlan | None, folder: SweepFolder
) -> SweepManifest:
    """Return sweep.json with what a request asks of the sweep."""
    manifest = with_command(manifest, options.command, options.out.name, options.experiment_file)
    values = {
        "metric": experiment.metric,
        "evaluation": experiment.evaluation.model_dump(mode="json"),
        "eval_id": eval_id(experiment.evaluation),
        "seeds": max(options.seeds, manifest.seeds),
        "command": options.command,
        **({"settle": None} if manifest.settle is not None else {}),
    }
    manifest = with_search_entry(manifest.model_copy(update=values), experiment)
    return manifest if race is None else told(manifest, race, next_step(race, folder))


def ask_again(existing: ExistingSweep, options: RunOptions) -> list[str]:
    """Write what a sweep with nothing left to do is asked for now, where that is another evaluation or metric.

    What is damaged is mended, and said.
    """
    before = existing.manifest
    manifest = asked(before, existing.experiment, options, existing.race, SweepFolder(options.out))
    is_same = _judged_by(manifest) == _judged_by(before)
    if is_same and not is_damaged(SweepFolder(options.out)):
        return []
    held = lease.acquire(options.out)
    try:
        folder = SweepFolder(options.out, held.fence)
        folder.write_manifest(manifest.model_copy(update={"trials": trials_entry(folder, existing.planned)}))
        return mend(folder)
    finally:
        held.release()


def _judged_by(manifest: SweepManifest) -> tuple[Any, ...]:
    return manifest.eval_id, manifest.metric, manifest.search, manifest.settle


def start_over(record: TrialRecord) -> None:
    """Forget how a failed trial ended, so that it runs again; its checkpoints may hold what made it fail."""
    result = record.result()
    if result is None or result.is_trained:
        return
    record.fence()
    for path in (record.result_path, record.error_path, record.metrics_path, record.lineage_path):
        path.unlink(missing_ok=True)
    for path in (record.checkpoint_folder, record.adapter_folder, record.folder / "evals"):
        shutil.rmtree(path, ignore_errors=True)
