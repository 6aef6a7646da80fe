"""`sweep plan`: what a run would do and need, without running it (no torch, no ray)."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from analysis.format.terminal import Table
from sweep.cli_support import command, continue_command
from sweep.cli_support.counting import counted
from sweep.cli_support.heartbeat import telling
from sweep.cli_support.options import DeviceOptions, ExperimentOptions, JsonOption, SmokeOption, TrustOption, seeds_of
from sweep.environment.devices import Device, resolve_device
from sweep.ray_driver import pack_order
from sweep.request import estimates, found_sources, sanity_report
from sweep.request.corpus import data_lines
from sweep.request.existing_sweep import ExistingSweep, about_older, sweep_to_extend
from sweep.request.overrides import Request, changes_of, request
from sweep.request.pack_memory import KnownWidths, check_memory, known_widths
from sweep.request.prepare import Loaded, check_bases, plan_loaded, read_data, resolve, sources_of_request
from sweep.request.run_options import RunOptions
from sweep.request.search_plan import PlannedPoint, SearchPlan, bases_of, ends_of, search_plan
from sweep.request.settling import check_settle_option, settle_notes
from sweep.request.trials import PlannedTrial, retry_sentence
from sweep.study.warm_source import check_warm_start, warm_source
from trainables import units
from trainables.config import eval_id
from trainables.data.corpus import Corpus, training_order
from trainables.errors import UserError
from trainables.records.damage import HASHED_BYTES, faults_of, told
from trainables.records.manifest import DataEntry
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import FAILURES, TrialState
from trainables.startup_progress import stage
from trainables.tokenization.encoder import Encoder, load_encoder
from trainables.tokenization.token_rows import build_row
from trainables.tokenization.tokenized_corpus import TokenizedExamples

TOKEN_SAMPLE = 64  # examples that stand for a training set's mean length
SHOWN_ROWS = 40
LEFT = ("new", "to continue")  # states of rows that a run would take up


@dataclass(frozen=True)
class PlanRow:
    """What a trial of a plan would do and need; what only absent sources could tell is None."""

    index: int
    name: str
    label: str
    kind: str  # "baseline" or "configuration"
    train_id: str
    trainable_parameters: int | None
    total_parameters: int | None
    tokens: int | None
    disk_bytes: int | None
    memory_bytes: int | None
    state: str


@dataclass(frozen=True)
class SweepPlan:
    """What a run would do and need; what only absent sources could tell is None, and `notes` say why."""

    experiment: str
    folder: str
    device: str
    precision: str
    model: tuple[str, ...]
    data: str
    banner: str | None
    configurations: int
    baselines: int
    left: int
    packs: tuple[str, ...]
    tokens: int | None
    disk_bytes: int | None
    memory_bytes: int | None
    pack_width: tuple[KnownWidths, ...]
    time_s: float | None
    evaluation: dict[str, Any]  # of EvalConfig
    trials: tuple[PlanRow, ...]
    notes: tuple[str, ...]
    search: SearchPlan | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "pack_width": [one.as_json() for one in self.pack_width]}


def plan(
    asked: ExperimentOptions,
    devices: DeviceOptions = DeviceOptions(),
    smoke: SmokeOption = False,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the trials of an experiment: parameters, tokens, disk, memory, pack width, time where it was measured."""
    wanted = request(asked.experiment, changes_of(asked, smoke))
    seeds, most_seeds = seeds_of(asked.seeds)
    check_settle_option(asked.settle, wanted.experiment, most_seeds)
    check_warm_start(asked.warm_start, wanted.experiment)
    options = RunOptions(
        out=(asked.out or command.RUNS / wanted.folder_name).absolute(),
        source=asked.source,
        seeds=seeds,
        most_seeds=most_seeds,
        settle=asked.settle,
        warm_start=asked.warm_start,
        device=devices.device,
        trust_remote_code=trust_remote_code,
        pack_width=devices.pack_width,
        memory_bytes=command.memory_cap_bytes(devices.memory),
    )
    with telling():
        found = make_plan(wanted, options)
    if as_json:
        command.print_json(found.as_json())
    else:
        _print(found)


def make_plan(wanted: Request, options: RunOptions) -> SweepPlan:
    """Return the plan; what only absent sources could tell is None, and `notes` say why."""
    existing = sweep_to_extend(wanted, options)
    notes: list[str] = []
    loaded = _load(wanted, options, existing, notes)
    requested = plan_loaded(loaded).requested
    planned = requested.trials
    resolved, experiment, corpus = loaded.resolved, loaded.experiment, loaded.corpus
    bases, folder = resolved.bases, resolved.folder
    notes += [*data_lines(loaded.data.report), *loaded.notes] if corpus else []
    notes += about_older(folder, existing.manifest, planned) if existing else []
    notes += resolved.model_notes() if bases.found else []
    notes += settle_notes(loaded.race, experiment, planned) if corpus else []
    notes += sanity_report.in_plan_of(requested.judged, experiment, bases, corpus, loaded.data.mistakes)
    if options.warm_start and corpus:
        models = [model.fingerprint for model in bases.models]
        notes.append(warm_source(options.warm_start, experiment, models, loaded.data.fingerprint).sentence)
    lengths = _Lengths(bases, corpus)
    left = {job.folder for job in existing.left} if existing else None
    rows = [_row(trial, bases, lengths, _state(folder, trial, left)) for trial in counted(planned, "sizing the trials")]
    to_come = [_row(trial, bases, lengths, "to come") for trial in requested.to_come]
    coming = requested.remaining
    largest = estimates.largest(requested.to_come, bases.model_folders) * coming if bases.found else []
    need = estimates.disk_need([*planned, *largest], bases.model_folders) if bases.found else None
    to_run = [trial for trial, row in zip(planned, rows, strict=True) if row.state in LEFT]
    notes += _damage(folder, eval_id(experiment.evaluation)) if existing else []
    if existing and (again := retry_sentence((row.state for row in rows), continue_command.line(folder))):
        notes.append(again)
    point = _point(to_come) if coming else None
    packs = pack_order.describe(trial.trial.train for trial in requested.judged)
    packs = bases_of(packs) if experiment.search else packs
    return SweepPlan(
        experiment=experiment.name,
        folder=str(options.out),
        device=resolved.device.sentence,
        precision=resolved.precision,
        model=tuple(model.label for model in bases.models),
        data=bases.data.label,
        banner=found_sources.banner(bases, experiment, wanted, options.source),
        configurations=sum(not trial.is_baseline for trial in planned) + coming,
        baselines=sum(trial.is_baseline for trial in planned),
        left=len(to_run) + coming,
        packs=tuple(packs),
        tokens=_sum([*(row.tokens for row in rows), *([point.tokens and point.tokens[1] * coming] if point else [])]),
        disk_bytes=need,
        memory_bytes=max((row.memory_bytes or 0 for row in (*rows, *to_come)), default=0) or None,
        pack_width=tuple(_widths([*to_run, *requested.to_come], bases, corpus, resolved.device, options)),
        time_s=_time_s(folder, planned, rows, coming),
        search=search_plan(experiment.search, requested, point) if experiment.search else None,
        evaluation=experiment.evaluation.model_dump(mode="json"),
        trials=tuple(rows),
        notes=tuple(notes),
    )


def _point(rows: Sequence[PlanRow]) -> PlannedPoint:
    names = [one.name for one in fields(PlannedPoint)]
    return PlannedPoint(**{name: ends_of(getattr(row, name) for row in rows) for name in names})


def _load(wanted: Request, options: RunOptions, existing: ExistingSweep | None, notes: list[str]) -> Loaded:
    """Return the request with its data, or by the names of its sources alone where these are nowhere."""
    device = _device(wanted, options, notes)
    try:
        bases = sources_of_request(wanted, options, existing)
    except UserError as error:
        if existing or {"model", "data"} & wanted.changed or options.source != "auto":
            raise  # the user named it
        notes.append(f"the plan knows the trials alone: {error}")
        resolved = resolve(wanted, options, device, found_sources.unresolved(wanted.experiment), None)
        return Loaded(resolved, resolved.experiment, DataEntry())
    resolved = resolve(wanted, options, device, bases, existing)
    check_bases(resolved, may_load_torch=True)
    return read_data(resolved)


def _device(wanted: Request, options: RunOptions, notes: list[str]) -> Device:
    try:
        return resolve_device(options.device, wanted.experiment.needs_gpu, wanted.experiment.name)
    except UserError as error:
        notes.append(str(error))
        return resolve_device("cpu", False, wanted.experiment.name)


@stage("measuring the texts that trials read")
def _widths(
    planned: Sequence[PlannedTrial],
    bases: found_sources.FoundSources,
    corpus: Corpus | None,
    device: Device,
    options: RunOptions,
) -> list[KnownWidths]:
    """Return the widths that these trials would have; raises UserError where not even one of them fits."""
    if not bases.found or corpus is None or not planned:
        return []
    trials = [trial.trial for trial in planned]
    check_memory((one.train for one in trials), bases.model_folders, device, options.memory_bytes)
    tokenized = TokenizedExamples(SweepFolder(options.out), bases.model_folders)
    for seed in {one.train.data_seed for one in trials}:
        tokenized.put_train_examples(seed, training_order(corpus.splits["train"], seed))
    return known_widths(tokenized, trials, device, options.memory_bytes, options.pack_width)


class _Lengths:
    """Mean tokens of a training row, per prompt and subset, measured once on a sample."""

    def __init__(self, bases: found_sources.FoundSources, corpus: Corpus | None) -> None:
        self.folders = bases.model_folders if bases.found else {}
        self.corpus = corpus
        self.encoders: dict[str, Encoder] = {}
        self.ordered: dict[int, list[Any]] = {}
        self.means: dict[tuple[Any, ...], float] = {}

    def tokens_of(self, trial: PlannedTrial) -> int | None:
        """Return the tokens that a trial trains on."""
        train = trial.trial.train
        if self.corpus is None or not self.folders or train.is_baseline:
            return None if self.corpus is None else 0
        folder = self.folders[train.model]
        limit = estimates.limit_tokens(train, folder)
        key = (folder, train.prompt_template, limit, train.data_seed, min(train.train_examples, TOKEN_SAMPLE))
        if key not in self.means:
            self.means[key] = self._mean(folder, train.prompt_template, limit, train.data_seed, key[-1])
        rows = train.max_steps * train.batch_size * train.gradient_accumulation_steps
        return round(rows * self.means[key])

    @stage("counting the tokens of training examples")
    def _mean(self, folder: str, template: str, limit: int, data_seed: int, count: int) -> float:
        assert self.corpus is not None
        if folder not in self.encoders:
            self.encoders[folder] = load_encoder(folder)
        if data_seed not in self.ordered:
            self.ordered[data_seed] = training_order(self.corpus.splits["train"], data_seed)[:TOKEN_SAMPLE]
        examples = self.ordered[data_seed][:count]
        rows = [build_row(self.encoders[folder], template, example, limit) for example in examples]
        return statistics.fmean(len(row.prompt_ids) + len(row.target_ids) for row in rows)


def _row(trial: PlannedTrial, bases: found_sources.FoundSources, lengths: _Lengths, state: str) -> PlanRow:
    train = trial.trial.train
    need = estimates.needs_of(train, trial.trial.evaluation, bases.model_folders[train.model]) if bases.found else None
    return PlanRow(
        index=trial.index,
        name=trial.name,
        label=trial.label,
        kind="baseline" if trial.is_baseline else "configuration",
        train_id=trial.trial.train_id,
        trainable_parameters=need.trainable_parameters if need else None,
        total_parameters=need.total_parameters if need else None,
        tokens=lengths.tokens_of(trial),
        disk_bytes=need.disk_bytes if need else None,
        memory_bytes=need.memory_bytes if need else None,
        state=state,
    )


def _state(folder: SweepFolder, trial: PlannedTrial, left: set[str] | None) -> str:
    if left is None:
        return "new"
    path = folder.trials_folder / trial.folder_name
    if str(path) not in left:
        result = TrialRecord(path).result()
        return result.state if result and result.state in FAILURES else TrialState.DONE
    return "to continue" if path.exists() else "new"


def _damage(folder: SweepFolder, identity: str) -> list[str]:
    """Say which files of the sweep are damaged, and that a run mends them."""
    found = {record.folder.name: told(faults_of(record, identity, HASHED_BYTES)) for record in folder.records()}
    said = [f"{name}: {why}; a run mends it" for name, why in found.items() if why]
    return [*said, *(f"data/{path.name} is damaged; a run writes it anew" for path in folder.damaged_examples())]


def _time_s(folder: SweepFolder, planned: Sequence[PlannedTrial], rows: Sequence[PlanRow], coming: int) -> float | None:
    """Predict the time that is left from the mean time of finished trials, None where none has finished.

    `coming` more are still to be chosen.
    """
    walls: dict[bool, list[float]] = {True: [], False: []}
    for trial in planned:
        result = TrialRecord(folder.trials_folder / trial.folder_name).result()
        if result and result.state == TrialState.DONE and result.wall_s:
            walls[trial.is_baseline].append(result.wall_s)
    seen = walls[True] + walls[False]
    if not seen:
        return None
    left = [*(row.kind == "baseline" for row in rows if row.state in LEFT), *[False] * coming]
    return sum(statistics.fmean(walls[baseline] or seen) for baseline in left)


def _sum(values: Iterable[int | None]) -> int | None:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) if len(known) == len(listed) else None


def _print(found: SweepPlan) -> None:
    console = command.results()
    if found.banner:
        console.print(found.banner, style="bold yellow")
    for text in found.notes:
        command.note(text, style="yellow")
    console.print(
        f"{found.experiment}: {found.configurations} configurations and {found.baselines} baselines, "
        f"{found.left} to run; {found.device}, {found.precision}"
    )
    console.print(f"model: {', '.join(found.model)}; data: {found.data}; folder: {found.folder}")
    if len(found.packs) > 1:
        console.print(pack_order.listed(found.packs))
    if found.search is not None:
        _print_search(found.search)
    console.print(_table(found.trials[:SHOWN_ROWS]))
    if len(found.trials) > SHOWN_ROWS:
        console.print(f"... and {len(found.trials) - SHOWN_ROWS} more (--json lists all)")
    parts = [f"training tokens: {count(found.tokens)}", f"disk: {size(found.disk_bytes)}"]
    if found.disk_bytes is not None:
        parts[-1] += f", of which {size(estimates.REPORT_BYTES + estimates.RESERVE_BYTES)} for reports and in reserve"
    parts.append(f"memory at the peak, predicted: {size(found.memory_bytes)} beside the process's own (some 700 MiB)")
    for entry in found.pack_width:
        console.print(entry.sentence)
    if found.time_s is not None:
        parts.append(f"time left, at the measured rate: {units.duration(found.time_s)} on one engine")
    console.print("; ".join(parts))


def _print_search(found: SearchPlan) -> None:
    console = command.results()
    console.print(found.sentence)
    table = Table()
    for title in ("axis", "values"):
        table.add_column(title)
    for axis in found.axes:
        table.add_row(axis.name, axis.values)
    console.print(table)
    if found.point is not None:
        console.print(found.point.sentence)


def _table(rows: Sequence[PlanRow]) -> Table:
    table = Table()
    for title in ("#", "name", "trial", "trainable", "tokens", "disk", "memory", "state"):
        justify: Literal["left", "right"] = "left" if title in ("name", "trial", "state") else "right"
        table.add_column(title, justify=justify, no_wrap=title != "trial")  # what does not fit is cut from there
    for row in rows:
        numbers = (count(row.trainable_parameters), count(row.tokens))
        needs = (size(row.disk_bytes), size(row.memory_bytes))
        table.add_row(str(row.index), row.name, row.label, *numbers, *needs, row.state)
    return table


def count(value: int | None) -> str:
    """Write a number with its thousands apart."""
    return "?" if value is None else f"{value:,}"


def size(value: float | None) -> str:
    """Write bytes in a unit that is read easily."""
    return "?" if value is None else units.size(value)


app = command.app(plan)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep plan", arguments)


if __name__ == "__main__":
    sys.exit(main())
