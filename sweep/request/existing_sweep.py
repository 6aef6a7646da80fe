"""A sweep that exists already, as a request extends it: may it, and what is left to do (no torch).

What was resolved at first (model, data, precision, stand-ins) is read from sweep.json ever after and never switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.records.older_trials import is_older
from search_spaces.experiment import Experiment
from sweep.request import found_sources, output_folder
from sweep.request.corpus import read_corpus, within_data
from sweep.request.overrides import Request
from sweep.request.run_options import RunOptions
from sweep.request.search_points import RequestedTrials, requested_trials
from sweep.request.settling import left_to_do, raced
from sweep.request.trials import PlannedTrial, known_trials
from sweep.settle.settle_plan import SettlePlan
from trainables.config import TrainConfig, configured
from trainables.data.configurations import parted
from trainables.data.sources import SOURCES
from trainables.errors import one_of
from trainables.jobs import TrialJob
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder


@dataclass(frozen=True)
class ExistingSweep:
    """A sweep that a request extends, and what of the request is left to do in it."""

    manifest: SweepManifest
    experiment: Experiment
    configurations: tuple[TrainConfig, ...]
    requested: RequestedTrials
    left: tuple[TrialJob, ...]
    damaged: tuple[Path, ...]  # files of its examples
    race: SettlePlan | None = None

    @property
    def planned(self) -> tuple[PlannedTrial, ...]:
        return self.requested.trials

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the request is left to do."""
        return not (self.left or self.requested.remaining or self.damaged)


def sweep_to_extend(request: Request, options: RunOptions) -> ExistingSweep | None:
    """Return the sweep that the request extends, None where it starts one; UserError where it may not extend it."""
    one_of("--source", options.source, SOURCES)
    manifest = output_folder.sweep_in(options.out)
    if manifest is None:
        return None
    resolved = manifest.resolved
    output_folder.check_extends(options.out, manifest, request, options.source)
    found_sources.check_requested(options.out, resolved, request.experiment)
    _check_data_files(manifest, request.experiment)
    with_its_sources = found_sources.with_sources(request, found_sources.stored_sources(resolved), resolved.precision)
    experiment = within_data(with_its_sources, resolved.data, request)[0]
    experiment, race = raced(experiment, options.settle, resolved.data.sizes, request, options.most_seeds)
    folder = SweepFolder(options.out)
    configurations = tuple(experiment.configurations())
    requested = requested_trials(experiment, options.seeds, known_trials(folder), configurations, folder)
    # A race begins when all trials are there.
    begun = None if requested.remaining else race
    left = tuple(left_to_do(folder, requested.trials, options.retry_failed, begun))
    return ExistingSweep(manifest, experiment, configurations, requested, left, tuple(folder.damaged_examples()), race)


def _check_data_files(manifest: SweepManifest, experiment: Experiment) -> None:
    """Raise UserError where a local data set is no longer what the sweep was started with."""
    entry, name = manifest.resolved.data, experiment.grid.base.data
    place, configuration = parted(name)
    if entry.kind != "local" or not Path(place).exists():
        return
    base = found_sources.FoundSource(
        name, entry.label, "local", str(Path(place).resolve()), None, configuration=configuration
    )
    if found_sources.stamp(base) != entry.stamp:
        corpus = read_corpus(base, experiment)
        found_sources.check_same("data", entry, corpus.fingerprint)


def about_older(folder: SweepFolder, manifest: SweepManifest, planned: Sequence[PlannedTrial]) -> list[str]:
    """Say once that a sweep of before 2026-11-30 trains its trials anew, where their prompts have other ids now."""
    again = {trial.trial.train_id for trial in planned}
    gone = [one for one in known_trials(folder) if one.train and one.train_id not in again]
    count = sum(is_older(configured(TrainConfig, one.train), manifest.resolved) for one in gone)
    if manifest.tokenization is not None or not count:
        return []
    return [
        f"{count} trials of this sweep are of before 2026-11-30: their prompts were tokenized in parts, which gives "
        "other ids than their text has; they keep their records, are trained anew, and are not compared with these"
    ]
