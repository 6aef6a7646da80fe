"""From a request to a sweep that is ready to run: everything is judged first, then everything is written (no torch).

What was resolved at first (model, data, precision, stand-ins) is read from sweep.json ever after and never switches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.records.older_trials import is_older
from search_spaces.experiment import Experiment
from sweep.cli_support.continue_command import with_command
from sweep.cli_support.counting import counted
from sweep.environment import lease
from sweep.environment.devices import Device, resolve_device, resolve_precision
from sweep.environment.provenance import provenance
from sweep.request import estimates, output_folder, sanity_report
from sweep.request import resolve as on
from sweep.request.corpus import fit, judge, lines, load, seen
from sweep.request.overrides import Request
from sweep.request.pack_memory import check_memory
from sweep.request.repair import is_damaged, mend, trials_entry
from sweep.request.trials import PlannedTrial, jobs_left, known_trials, plan_trials
from trainables.config import TrainConfig, configured, eval_id
from trainables.data.configurations import parted
from trainables.data.corpus import Corpus, Example, evaluation_order, example_of, training_order
from trainables.data.sources import SOURCES
from trainables.errors import UserError, one_of
from trainables.jobs import TRAIN_LOSS_EXAMPLES, EngineSetup, TrialJob
from trainables.records import atomic_files
from trainables.records.damage import adapter_is_whole
from trainables.records.manifest import SweepManifest, SweepOrigin, SweepSources
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TRAINED

KEPT_EVALUATION_EXAMPLES = 2_000  # so that a later evaluation on more needs no source


@dataclass(frozen=True)
class Options:
    """How a request is to be run, as far as it changes no result."""

    out: Path
    source: str = "auto"
    seeds: int = 1
    device: str = "auto"
    trust_remote_code: bool = False
    retry_failed: bool = False
    command: str = ""
    experiment_file: tuple[str, str] | None = None  # its name as given, and its text
    pack_width: int | None = None  # trials that share a packed engine
    memory_bytes: int | None = None  # that an engine may use


@dataclass(frozen=True)
class Stored:
    """A sweep that exists, and what of the request is left to do in it."""

    sweep: SweepManifest
    experiment: Experiment
    planned: list[PlannedTrial]
    left: list[TrialJob]
    damaged: list[Path]  # files of its examples


@dataclass
class Prepared:
    """A sweep that has been judged; nothing of it has been written."""

    options: Options
    experiment: Experiment
    device: Device
    bases: on.Bases
    sweep: SweepManifest  # without the files and the trials, which are known once they are written
    examples: dict[Path, list[Example]]  # to be written
    notes: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)  # what `commit` did about damaged files

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.options.out)

    @cached_property
    def setup(self) -> EngineSetup:
        return EngineSetup(
            sweep_folder=str(self.options.out),
            model_folders=self.bases.model_folders,
            device=self.device.kind,
            trust_remote_code=self.options.trust_remote_code,
            pack_width=self.options.pack_width,
            memory_bytes=self.options.memory_bytes,
        )


def stored_sweep(request: Request, options: Options) -> Stored | None:
    """Return the sweep that the request extends, None where it starts one; UserError where it may not extend it."""
    one_of("--source", options.source, SOURCES)
    sweep = output_folder.sweep_in(options.out)
    if sweep is None:
        return None
    output_folder.check_extends(options.out, sweep, request, options.source)
    on.check_requested(options.out, sweep.resolved, request.experiment)
    _check_data_files(sweep, request.experiment)
    resolved = sweep.resolved
    experiment = on.on_bases(request, on.stored_bases(resolved), resolved.precision)
    experiment = replace(experiment, evaluation=fit(experiment.evaluation, resolved.data.sizes, request, []))
    experiment = seen(experiment, resolved.data.rouge_sees_words, [])
    folder = SweepFolder(options.out)
    planned = plan_trials(experiment, options.seeds, known_trials(folder))
    left = jobs_left(folder, planned, options.retry_failed)
    return Stored(sweep, experiment, planned, left, folder.damaged_examples())


def prepare(request: Request, options: Options, stored: Stored | None = None) -> Prepared:
    """Judge a request completely; raises UserError for whatever would stop it later. `stored`: the sweep to extend."""
    output_folder.check_writable(options.out)
    device = resolve_device(options.device, request.experiment.needs_gpu, request.experiment.name)
    configurations = (stored or request).experiment.configurations()
    if device.kind == "cpu" and any(train.precision == "fp16" for train in configurations):
        raise UserError("precision must be fp32 or bf16 on a CPU, got 'fp16'")
    prepared = _more(request, options, stored, device) if stored else _new(request, options, device)
    trains = prepared.experiment.configurations()
    check_memory(trains, prepared.bases.model_folders, device, options.memory_bytes)
    return prepared


def _new(request: Request, options: Options, device: Device) -> Prepared:
    bases = on.resolve(request, options.source, options.trust_remote_code)
    precision = _precision(request.experiment.grid.base, device, bases)
    experiment = on.on_bases(request, bases, precision)
    planned = plan_trials(experiment, options.seeds)
    estimates.check_weights(on.folders(bases), options.trust_remote_code, may_load_torch=False)  # the engine will
    estimates.check_models(planned, bases.model_folders, on.asks_for_its_length(request, bases))  # before the slow data
    corpus = load(bases.data, experiment)
    bases = replace(bases, data=replace(bases.data, fingerprint=corpus.fingerprint))
    notes = [*on.model_notes(bases), *lines(corpus.report)]
    if bases.target_modules:
        own = ", ".join(request.experiment.grid.base.target_modules)
        notes.append(f"model: {bases.models[0].label} has no {own}; adapted: {', '.join(bases.target_modules)}")
    judged = judge(experiment, corpus, request, notes)
    experiment = judged.experiment
    planned = plan_trials(experiment, options.seeds)
    examples = _examples(_wanted(SweepFolder(options.out), planned), corpus)
    in_data = sanity_report.in_data(corpus)
    notes += in_data + _check(options, planned, planned, bases, examples, experiment)
    read: dict[str, Any] = {"report": corpus.report, "sizes": judged.sizes, "stamp": on.stamp(bases.data)}
    read |= {} if judged.sees_words else {"rouge_sees_words": False}
    read |= {"mistakes": in_data} if in_data else {}
    asked = request.experiment.grid.base
    sweep = SweepManifest(
        experiment=experiment.name,
        requested={"model": asked.model, "data": asked.data, "source": options.source},
        resolved=SweepSources(
            model=bases.models[0].model_entry(),
            models=tuple(model.model_entry() for model in bases.models),
            data=bases.data.data_entry(**read),
            precision=precision,
            target_modules=bases.target_modules,
            device=device.kind,
        ),
        banner=on.banner(bases, experiment, request, options.source),
        model_hint=bases.model_folders,
        data_hint=bases.data.place,
        provenance=SweepOrigin.model_validate(provenance(device)),
        tokenization="whole",
    )
    return Prepared(options, experiment, device, bases, _asked(sweep, experiment, options), examples, notes)


def _more(request: Request, options: Options, stored: Stored, device: Device) -> Prepared:
    sweep, folder = stored.sweep, SweepFolder(options.out)
    bases = on.find_models_again(sweep.resolved, sweep.model_hint, options.trust_remote_code)
    estimates.check_weights(on.folders(bases), options.trust_remote_code, may_load_torch=False)
    estimates.check_models(stored.planned, bases.model_folders, "max_length_tokens" in request.changed)
    wanted = _wanted(folder, stored.planned)
    examples = examples_on_disk(wanted, sweep)
    fresh: dict[Path, list[Example]] = {}
    if examples is None:
        place = on.find_data_again(sweep.resolved, sweep.data_hint)
        corpus = load(place, stored.experiment)
        on.check_same("data", sweep.resolved.data, corpus.fingerprint)
        examples = fresh = _examples(wanted, corpus)
    on.sources.go_offline()
    left = {Path(job.folder).name for job in stored.left}
    unfinished = [trial for trial in stored.planned if trial.folder_name in left]
    in_data = sweep.resolved.data.mistakes  # said again without reading the corpus
    notes = about_older(folder, sweep, stored.planned)
    notes += [*on.model_notes(bases, sweep.resolved), *lines(sweep.resolved.data.report), *in_data]
    notes += _check(options, stored.planned, unfinished, bases, examples, stored.experiment)
    sweep = _asked(sweep, stored.experiment, options).model_copy(update={"tokenization": "whole"})
    return Prepared(options, stored.experiment, device, bases, sweep, fresh, notes)


def about_older(folder: SweepFolder, sweep: SweepManifest, planned: Sequence[PlannedTrial]) -> list[str]:
    """Say once that a sweep of before 2026-11-30 trains its trials anew, where their prompts have other ids now."""
    again = {trial.trial.train_id for trial in planned}
    gone = [one for one in known_trials(folder) if one.train and one.train_id not in again]
    count = sum(is_older(configured(TrainConfig, one.train), sweep.resolved) for one in gone)
    if sweep.tokenization is not None or not count:
        return []
    return [
        f"{count} trials of this sweep are of before 2026-11-30: their prompts were tokenized in parts, which gives "
        "other ids than their text has; they keep their records, are trained anew, and are not compared with these"
    ]


def _asked(sweep: SweepManifest, experiment: Experiment, options: Options) -> SweepManifest:
    """Return sweep.json with what this request asks of it."""
    sweep = with_command(sweep, options.command, options.out.name, options.experiment_file)
    asked = {
        "metric": experiment.metric,
        "evaluation": experiment.evaluation.model_dump(mode="json"),
        "eval_id": eval_id(experiment.evaluation),
        "seeds": max(options.seeds, sweep.seeds),
        "command": options.command,
    }
    return sweep.model_copy(update=asked)


def _precision(base: TrainConfig, device: Device, bases: on.Bases) -> str:
    return resolve_precision(device, on.folders(bases)) if base.precision == "auto" else base.precision


# --- examples --------------------------------------------------------------------------------------------------------


Wanted = dict[Path, tuple[str, int | None, int]]
"""Path -> split, data_seed of a training set, number of examples that trials read."""


def _wanted(folder: SweepFolder, planned: Sequence[PlannedTrial]) -> Wanted:
    """Return what the trials of a plan read, and those of earlier requests of files that are there."""
    wanted: Wanted = {}
    asked = [(trial.trial.train.data_seed, trial.trial.train.train_examples) for trial in planned]
    earlier = [(one.train["data_seed"], one.train["train_examples"]) for one in known_trials(folder) if one.train]
    for seed, count in (*asked, *(one for one in earlier if folder.train_examples_path(one[0]).exists())):
        path = folder.train_examples_path(seed)
        wanted[path] = ("train", seed, max(count, wanted.get(path, ("", 0, 0))[2]))
    for trial in planned[:1]:
        for split, count in trial.trial.evaluation.examples.items():
            wanted[folder.evaluation_examples_path(split)] = (split, None, count)
    return wanted


def _examples(wanted: Wanted, corpus: Corpus) -> dict[Path, list[Example]]:
    """Return what each file of the sweep's data is to hold; raises UserError where the corpus is too small."""
    found = {}
    for path, (split, seed, count) in wanted.items():
        there = corpus.splits.get(split, [])
        if count > len(there):
            raise UserError(
                f"{split}_examples must be at most {len(there)}, the size of the {split} split, got {count}"
            )
        ordered = evaluation_order(there) if seed is None else training_order(there, seed)
        found[path] = ordered[: max(count, KEPT_EVALUATION_EXAMPLES if seed is None else TRAIN_LOSS_EXAMPLES)]
    return found


def examples_on_disk(wanted: Wanted, sweep: SweepManifest) -> dict[Path, list[Example]] | None:
    """Return the examples that the sweep keeps, None where they are too few, absent or damaged."""
    found = {}
    for path, (_, _, count) in wanted.items():
        if not path.exists():
            return None
        if atomic_files.sha256_of(path) != sweep.files.get(path.name):
            return None
        found[path] = [example_of(row) for row in atomic_files.read_lines(path)]
        if len(found[path]) < count:
            return None
    return found


def _check(
    options: Options,
    planned: Sequence[PlannedTrial],
    unfinished: Sequence[PlannedTrial],
    bases: on.Bases,
    examples: Mapping[Path, list[Example]],
    experiment: Experiment,
) -> list[str]:
    """Judge lengths, and disk for what is not finished; return what may be a mistake."""
    folder = SweepFolder(options.out)
    seeds = {trial.trial.train.data_seed for trial in planned}
    training = {seed: examples[folder.train_examples_path(seed)] for seed in seeds}
    evaluated = {
        split: examples[folder.evaluation_examples_path(split)][:count]
        for split, count in planned[0].trial.evaluation.examples.items()
    }
    estimates.check_prompts(planned, bases.model_folders, training, evaluated)
    estimates.check_disk(options.out, estimates.disk_need(unfinished, bases.model_folders, examples.values()))
    return sanity_report.in_plan(planned, experiment, bases.model_folders, training.__getitem__, evaluated)


def _check_data_files(sweep: SweepManifest, experiment: Experiment) -> None:
    """Raise UserError where a local data set is no longer what the sweep was started with."""
    entry, name = sweep.resolved.data, experiment.grid.base.data
    place, configuration = parted(name)
    if entry.kind != "local" or not Path(place).exists():
        return
    base = on.Base(name, entry.label, "local", str(Path(place).resolve()), None, configuration=configuration)
    if on.stamp(base) != entry.stamp:
        corpus = load(base, experiment)
        on.check_same("data", entry, corpus.fingerprint)


# --- writing ---------------------------------------------------------------------------------------------------------


def commit(prepared: Prepared, folder: SweepFolder) -> tuple[list[PlannedTrial], list[TrialJob]]:
    """Write sweep.json, the examples and every planned trial's configuration; return the plan and what is left of it.

    `folder` carries the fence of the lease that is held by now; names are given under it. What is damaged is mended.
    """
    retry = prepared.options.retry_failed
    stored = prepared.sweep.files
    for path, examples in prepared.examples.items():
        if path.exists() and atomic_files.sha256_of(path) != stored.get(path.name, atomic_files.sha256_of(path)):
            atomic_files.set_aside(path)
        folder.write_examples(path, (example.row() for example in examples))
    sums = {path.name: atomic_files.sha256_of(path) for path in prepared.examples}
    planned = plan_trials(prepared.experiment, prepared.options.seeds, known_trials(folder))
    trials = trials_entry(folder, planned)
    folder.write_manifest(prepared.sweep.model_copy(update={"files": {**stored, **sums}, "trials": trials}))
    prepared.mended += mend(folder)
    left = jobs_left(folder, planned, retry)
    again = {job.folder for job in left}
    for trial in counted(planned, "writing the trials' configurations"):
        record = TrialRecord(folder.trials_folder / trial.folder_name, folder.fence)
        if not record.config_path.exists():
            record.write_config(trial.trial, trial.index, trial.name, trial.label)
        if str(record.folder) in again and not adapter_is_whole(record):
            prepared.mended.append(f"{trial.folder_name}: its adapter is damaged and set aside: it runs again")
            record.set_adapter_aside()
        if retry and str(record.folder) in again:
            start_over(record)
    return planned, left


def ask_again(stored: Stored, options: Options) -> list[str]:
    """Write what a sweep with nothing left to do is asked for now, where that is another evaluation or metric.

    What is damaged is mended, and said.
    """
    asked = _asked(stored.sweep, stored.experiment, options)
    is_same = (asked.eval_id, asked.metric) == (stored.sweep.eval_id, stored.sweep.metric)
    if is_same and not is_damaged(SweepFolder(options.out)):
        return []
    held = lease.acquire(options.out)
    try:
        folder = SweepFolder(options.out, held.fence)
        folder.write_manifest(asked.model_copy(update={"trials": trials_entry(folder, stored.planned)}))
        return mend(folder)
    finally:
        held.release()


def start_over(record: TrialRecord) -> None:
    """Forget how a failed trial ended, so that it runs again; its checkpoints may hold what made it fail."""
    import shutil

    result = record.result()
    if result is None or result["state"] in TRAINED:
        return
    record.fence()
    for path in (record.result_path, record.error_path, record.metrics_path, record.lineage_path):
        path.unlink(missing_ok=True)
    for path in (record.checkpoint_folder, record.adapter_folder, record.folder / "evals"):
        shutil.rmtree(path, ignore_errors=True)
