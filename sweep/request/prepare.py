"""From a request to a sweep that is ready to be written; everything is judged before anything is written (no torch).

Request -> Resolved (models, data, precision) -> Loaded (examples) -> Planned (trials) -> PreparedSweep -> `commit`.
A request that extends a sweep enters at Resolved: what that was resolved to at first never switches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from search_spaces.experiment import Experiment
from sweep.environment.devices import Device, resolve_device, resolve_precision
from sweep.environment.provenance import provenance
from sweep.request import estimates, found_sources, output_folder, sanity_report
from sweep.request.corpus import data_entry_of, data_lines, read_corpus, within_data
from sweep.request.examples import Examples, examples_from, examples_on_disk, examples_wanted
from sweep.request.existing_sweep import ExistingSweep, about_older
from sweep.request.overrides import Request
from sweep.request.pack_memory import check_memory
from sweep.request.run_options import RunOptions
from sweep.request.search_points import RequestedTrials, requested_trials
from sweep.request.settling import raced, settle_notes
from sweep.request.trials import PlannedTrial, check_seeds
from sweep.settle.settle_plan import SettlePlan
from trainables.config import EvalConfig, TrainConfig
from trainables.data.corpus import Corpus
from trainables.errors import UserError
from trainables.jobs import EngineSetup, TrialJob
from trainables.records.manifest import DataEntry, SweepManifest, SweepSources
from trainables.records.record import SweepFolder

# --- models, data set, precision -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resolved:
    """A request on the models, the data set and the precision that it stands on."""

    request: Request
    options: RunOptions
    device: Device
    bases: found_sources.FoundSources
    precision: str
    experiment: Experiment
    configurations: tuple[TrainConfig, ...]  # of the experiment
    existing: ExistingSweep | None = None  # which it extends

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.options.out)

    @property
    def asks_for_its_length(self) -> bool:
        """Whether somebody chose max_length_tokens for these models; else it is cut to their context."""
        if self.existing:
            return "max_length_tokens" in self.request.changed
        return found_sources.asks_for_its_length(self.request, self.bases)

    def model_notes(self) -> list[str]:
        """Check where each model's texts end, and return what there is to say of the models."""
        return found_sources.model_notes(self.bases, self.existing.manifest.resolved if self.existing else None)


def sources_of_request(
    request: Request, options: RunOptions, existing: ExistingSweep | None
) -> found_sources.FoundSources:
    """Find model and data; those of an existing sweep are found again, its data once they are read."""
    if existing is None:
        return found_sources.find_sources(request, options.source, options.trust_remote_code)
    kept = existing.manifest
    return found_sources.find_models_again(kept.resolved, kept.model_hint, options.trust_remote_code)


def resolve(
    request: Request,
    options: RunOptions,
    device: Device,
    bases: found_sources.FoundSources,
    existing: ExistingSweep | None,
) -> Resolved:
    """Return the request on these bases; an existing sweep keeps its own precision."""
    if existing:
        known = (existing.manifest.resolved.precision, existing.experiment, existing.configurations)
        return Resolved(request, options, device, bases, *known, existing)
    precision = _precision(request.experiment.grid.base, device, bases)
    experiment = found_sources.with_sources(request, bases, precision)
    check_seeds(experiment, options.seeds)
    return Resolved(request, options, device, bases, precision, experiment, tuple(experiment.configurations()))


def _precision(base: TrainConfig, device: Device, bases: found_sources.FoundSources) -> str:
    return resolve_precision(device, found_sources.folders(bases)) if base.precision == "auto" else base.precision


def check_bases(resolved: Resolved, may_load_torch: bool) -> None:
    """Raise UserError for models that cannot be trained as asked; before the data are read, which may take long."""
    folders = resolved.bases.model_folders
    estimates.check_weights(found_sources.folders(resolved.bases), resolved.options.trust_remote_code, may_load_torch)
    evaluation = resolved.experiment.evaluation
    estimates.check_models(resolved.configurations, evaluation, folders, resolved.asks_for_its_length)


# --- data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """A resolved request within what its data hold."""

    resolved: Resolved
    experiment: Experiment
    data: DataEntry
    corpus: Corpus | None = None  # None: the sweep keeps all examples that its trials read, or there are no data
    kept: Examples | None = None  # by the sweep
    notes: tuple[str, ...] = ()  # what the data changed of the evaluation
    race: SettlePlan | None = None

    @property
    def evaluation(self) -> EvalConfig:
        """The largest evaluation that there may be of a trial."""
        return self.race.whole if self.race else self.experiment.evaluation


def read_data(resolved: Resolved) -> Loaded:
    """Read the data; of a new sweep they decide how many examples are evaluated, and by what if ROUGE sees no words."""
    existing = resolved.existing
    if existing:
        kept = existing.manifest
        corpus = read_corpus(found_sources.find_data_again(kept.resolved, kept.data_hint), resolved.experiment)
        return Loaded(resolved, resolved.experiment, kept.resolved.data, corpus, race=existing.race)
    corpus = read_corpus(resolved.bases.data, resolved.experiment)
    data = data_entry_of(resolved.bases.data, corpus)
    experiment, notes = within_data(resolved.experiment, data, resolved.request)
    experiment, race = raced(
        experiment, resolved.options.settle, data.sizes, resolved.request, resolved.options.most_seeds
    )
    return Loaded(resolved, experiment, data, corpus, notes=tuple(notes), race=race)


def load_examples(resolved: Resolved) -> Loaded:
    """Take the examples that an existing sweep keeps where they are enough, else read the data as they were."""
    existing = resolved.existing
    if existing is None:
        return read_data(resolved)
    evaluation = existing.race.whole if existing.race else existing.experiment.evaluation
    wanted = examples_wanted(resolved.folder, existing.requested.judged, evaluation)
    kept = examples_on_disk(wanted, existing.manifest)
    entry = existing.manifest.resolved.data
    if kept is None:
        loaded = read_data(resolved)
        assert loaded.corpus is not None
        found_sources.check_same("data", entry, loaded.corpus.fingerprint)
    else:
        loaded = Loaded(resolved, resolved.experiment, entry, kept=kept, race=existing.race)
    found_sources.sources.go_offline()
    return loaded


# --- trials ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """Every trial that is asked for, by the names that it has or will have."""

    loaded: Loaded
    requested: RequestedTrials

    @property
    def trials(self) -> tuple[PlannedTrial, ...]:
        return self.requested.trials

    @property
    def judged(self) -> tuple[PlannedTrial, ...]:
        return self.requested.judged

    @property
    def unfinished(self) -> list[PlannedTrial]:
        """Return what will be run, points that a search has still to choose by the largest that may be."""
        existing, folders = self.loaded.resolved.existing, self.loaded.resolved.bases.model_folders
        left = {Path(job.folder).name for job in existing.left} if existing else None
        found = [trial for trial in self.trials if left is None or trial.folder_name in left]
        largest = estimates.largest(self.requested.to_come, folders)
        return [*found, *[trial for trial in largest for _ in range(self.requested.remaining)]]


def plan_loaded(loaded: Loaded) -> Planned:
    """Return the trials of a loaded request; those of an existing sweep were planned to see what is left of them."""
    existing = loaded.resolved.existing
    if existing:
        return Planned(loaded, existing.requested)
    resolved = loaded.resolved
    trials = requested_trials(loaded.experiment, resolved.options.seeds, configurations=resolved.configurations)
    return Planned(loaded, trials)


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep that has been judged; nothing of it has been written."""

    planned: Planned
    manifest: SweepManifest  # as it was, or of a new sweep, before `commit` writes into it what is asked
    examples: Examples  # to be written
    notes: tuple[str, ...]

    @property
    def options(self) -> RunOptions:
        return self.planned.loaded.resolved.options

    @property
    def device(self) -> Device:
        return self.planned.loaded.resolved.device

    @property
    def bases(self) -> found_sources.FoundSources:
        return self.planned.loaded.resolved.bases

    @property
    def experiment(self) -> Experiment:
        return self.planned.loaded.experiment

    @property
    def race(self) -> SettlePlan | None:
        return self.planned.loaded.race

    @property
    def folder(self) -> SweepFolder:
        return self.planned.loaded.resolved.folder

    @property
    def jobs_to_come(self) -> list[TrialJob]:
        """Return what stands for the points that a search has still to choose, where an engine is to know of them."""
        folder = self.folder.trials_folder
        return [TrialJob(str(folder / one.folder_name), one.trial) for one in self.planned.requested.to_come]

    @property
    def setup(self) -> EngineSetup:
        return EngineSetup(
            sweep_folder=str(self.options.out),
            model_folders=self.bases.model_folders,
            device=self.device.kind,
            trust_remote_code=self.options.trust_remote_code,
            pack_width=self.options.pack_width,
            memory_bytes=self.options.memory_bytes,
        )


def prepare(request: Request, options: RunOptions, existing: ExistingSweep | None = None) -> PreparedSweep:
    """Judge a request completely; raises UserError for whatever would stop it later. `existing` is what it extends."""
    output_folder.check_writable(options.out)
    device = resolve_device(options.device, request.experiment.needs_gpu, request.experiment.name)
    grid = (existing or request).experiment.grid
    if device.kind == "cpu" and "fp16" in grid.axes.get("precision", (grid.base.precision,)):
        raise UserError("precision must be fp32 or bf16 on a CPU, got 'fp16'")
    resolved = resolve(request, options, device, sources_of_request(request, options, existing), existing)
    check_bases(resolved, may_load_torch=False)  # the engine will
    prepared = judge_planned(plan_loaded(load_examples(resolved)))
    check_memory(resolved.configurations, resolved.bases.model_folders, device, options.memory_bytes)
    return prepared


def judge_planned(planned: Planned) -> PreparedSweep:
    """Judge what the trials read and need; raises UserError for what cannot be, and says what may be a mistake."""
    loaded, resolved = planned.loaded, planned.loaded.resolved
    existing, bases = resolved.existing, resolved.bases
    examples = loaded.kept
    if examples is None:
        assert loaded.corpus is not None
        wanted = examples_wanted(resolved.folder, planned.judged, loaded.evaluation)
        examples = examples_from(wanted, loaded.corpus)
    notes = about_older(resolved.folder, existing.manifest, planned.trials) if existing else []
    notes += [*resolved.model_notes(), *data_lines(loaded.data.report)]
    if bases.target_modules:
        own = ", ".join(resolved.request.experiment.grid.base.target_modules)
        notes.append(f"model: {bases.models[0].label} has no {own}; adapted: {', '.join(bases.target_modules)}")
    notes += settle_notes(loaded.race, loaded.experiment, planned.trials)
    notes += [*loaded.notes, *loaded.data.mistakes, *_check(planned, examples)]
    if existing:
        manifest = existing.manifest.model_copy(update={"tokenization": "whole"})
    else:
        manifest = _new_manifest(loaded)
    return PreparedSweep(planned, manifest, examples if loaded.kept is None else {}, tuple(notes))


def _check(planned: Planned, examples: Examples) -> list[str]:
    """Judge lengths, and disk for what is not finished; return what may be a mistake."""
    resolved, folder = planned.loaded.resolved, planned.loaded.resolved.folder
    folders, trials = resolved.bases.model_folders, planned.judged
    training = {
        seed: examples[folder.train_examples_path(seed)] for seed in {one.trial.train.data_seed for one in trials}
    }
    evaluated = {
        split: examples[folder.evaluation_examples_path(split)][:count]
        for split, count in planned.loaded.evaluation.examples.items()
    }
    estimates.check_prompts(trials, folders, training, evaluated)
    need = estimates.disk_need(planned.unfinished, folders, examples.values())
    estimates.check_disk(resolved.options.out, need)
    return sanity_report.in_plan(trials, planned.loaded.experiment, folders, training.__getitem__, evaluated)


def _new_manifest(loaded: Loaded) -> SweepManifest:
    resolved, bases = loaded.resolved, loaded.resolved.bases
    wanted = resolved.request.experiment.grid.base
    return SweepManifest(
        experiment=loaded.experiment.name,
        requested={"model": wanted.model, "data": wanted.data, "source": resolved.options.source},
        resolved=SweepSources(
            model=bases.models[0].model_entry(),
            models=tuple(model.model_entry() for model in bases.models),
            data=loaded.data,
            precision=resolved.precision,
            target_modules=bases.target_modules,
            device=resolved.device.kind,
        ),
        banner=found_sources.banner(bases, loaded.experiment, resolved.request, resolved.options.source),
        model_hint=bases.model_folders,
        data_hint=bases.data.place,
        provenance=provenance(resolved.device),
        tokenization="whole",
    )
