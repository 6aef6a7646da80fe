"""`sweep run`: train and evaluate an experiment, or continue it, and print the comparison."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search_spaces.experiment import source_of
from search_spaces.samplers import choose
from sweep.cli_support import command, continue_command
from sweep.cli_support.command import DONE, SOME_FAILED, note
from sweep.cli_support.heartbeat import telling
from sweep.cli_support.options import (
    ENGINES,
    AddressOption,
    DeviceOptions,
    EngineOptions,
    ExperimentOptions,
    JsonOption,
    SmokeOption,
    TrustOption,
    seeds_of,
)
from sweep.environment.provenance import command_line
from sweep.ray_driver.pbt.groups import check_population
from sweep.request import output_folder, rollback, sanity_report
from sweep.request.commit import ask_again, commit
from sweep.request.early_losses import EARLY_STOPPING, early_loss_note
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.overrides import Request, changes_of, request
from sweep.request.pack_memory import narrowed_sentence, setup_for, widths_used
from sweep.request.prepare import PreparedSweep, prepare
from sweep.request.run_options import RunOptions
from sweep.request.search_points import requested_trials
from sweep.request.settling import check_settle_option
from sweep.request.trials import PlannedTrial, known_trials, retry_sentence
from sweep.study.begin import study_of, warm_start_of
from sweep.study.keeper import ended_with_driver
from sweep.study.study_file import check_is_ours
from sweep.study.warm_source import check_warm_start
from trainables.errors import UserError, one_of
from trainables.jobs import EngineSetup, TrialJob
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TRAINED, TrialState
from trainables.startup_progress import stage
from trainables.units import parse_seconds

if TYPE_CHECKING:
    from sweep.ray_driver.launch import LaunchOptions

SCHEDULERS = ("none", "asha", "median", "pbt")


def run(
    asked: ExperimentOptions,
    scheduler: Annotated[
        str, typer.Option("--scheduler", help="Ends trials early (asha, median) or changes them in training (pbt).")
    ] = "none",
    max_concurrent: Annotated[int | None, typer.Option("--max-concurrent", min=1, help="Live trials at most.")] = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="End by then, to be continued: 2h, 90m.")
    ] = None,
    engines: EngineOptions = EngineOptions(),
    devices: DeviceOptions = DeviceOptions(),
    address: AddressOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set the old folder aside and start anew.")] = False,
    smoke: SmokeOption = False,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> int:
    """Train and evaluate an experiment, or continue it, and print which configuration to keep.

    The same command continues what is unfinished; finished trials never run again.
    """
    from sweep.ray_driver.launch import LaunchOptions

    wanted = request(asked.experiment, changes_of(asked, smoke))
    seeds, most_seeds = seeds_of(asked.seeds)
    check_settle_option(asked.settle, wanted.experiment, most_seeds)
    check_warm_start(asked.warm_start, wanted.experiment)
    one_of("--scheduler", scheduler, SCHEDULERS)
    one_of("--engine", engines.engine, ENGINES)
    if scheduler == "pbt":
        if wanted.experiment.search is not None:
            raise UserError("--scheduler pbt changes what a search has chosen: leave out one of them, or take asha")
        limits = {"--max-concurrent": max_concurrent, "--pack-width": devices.pack_width}
        if alone := check_population(wanted.experiment.configurations(), seeds, engines.engine, limits):
            note(alone)
    how: Any = scheduler
    launching = LaunchOptions(
        max_concurrent=max_concurrent,
        scheduler=how,
        time_budget_s=None if time_budget is None else parse_seconds("--time-budget", time_budget),
        engine=engines.engine,
        engines_per_gpu=engines.engines_per_gpu,
        address=address,
    )
    options = RunOptions(
        out=(asked.out or command.RUNS / wanted.folder_name).absolute(),
        source=asked.source,
        seeds=seeds,
        most_seeds=most_seeds,
        settle=asked.settle,
        warm_start=asked.warm_start,
        device=devices.device,
        trust_remote_code=trust_remote_code,
        retry_failed=retry_failed,
        command=command_line("run", [part for part in sys.argv[1:] if part != "--fresh"]),
        experiment_file=(asked.experiment, source_of(asked.experiment)),
        pack_width=devices.pack_width,
        memory_bytes=command.memory_cap_bytes(devices.memory),
    )
    return run_request(wanted, options, launching, fresh, as_json)


def run_request(wanted: Request, options: RunOptions, launching: LaunchOptions, fresh: bool, as_json: bool) -> int:
    """Continue a sweep or start it; return the exit code."""
    if fresh:
        output_folder.sweep_in(options.out)
        existing = None
    else:
        with telling():
            existing = sweep_to_extend(wanted, options)
    if existing is not None and existing.is_complete:
        _tell(ask_again(existing, options))
        return _conclude(options.out, existing.planned, existing.experiment.metric, as_json)
    if wanted.experiment.search is not None and not fresh:
        check_is_ours(SweepFolder(options.out).study_path, wanted.experiment.name)
    with telling():
        prepared = prepare(wanted, options, existing)
    _introduce(prepared)
    if launching.scheduler in EARLY_STOPPING:
        trains = prepared.experiment.configurations()
        if said := early_loss_note(trains, prepared.experiment.search is not None):
            note(said, style="yellow")
    if fresh and options.out.exists() and any(options.out.iterdir()):
        note(f"the old sweep is set aside as {short_path(output_folder.set_aside(options.out))}")
    return _launch(prepared, launching, as_json)


def _launch(prepared: PreparedSweep, launching: LaunchOptions, as_json: bool) -> int:
    from sweep.environment.lease import acquire
    from sweep.ray_driver.launch import launch

    out = prepared.options.out
    before = rollback.there(out)
    ending = ExitStack()
    with telling():
        lease = acquire(out)
    try:
        folder = SweepFolder(out, lease.fence)
        if prepared.experiment.search is not None:
            ending.enter_context(ended_with_driver(folder.study_path, lease))
        with telling():
            committed = commit(prepared, folder)
        planned, left = committed.planned, list(committed.left)
        _tell(committed.mended)
        with telling():
            setup = _widths(prepared, left) if launching.engine == "packed" else prepared.setup
            study = study_of(prepared, folder)
        outcome = None
        if study is not None:
            outcome = launch(folder, lease, left, setup, launching, study, race=prepared.race)
            if study.fault:
                note(study.fault, style="yellow")
            planned = requested_trials(prepared.experiment, known=known_trials(folder)).trials
        elif left:
            outcome = launch(folder, lease, left, setup, launching, race=prepared.race)
        if outcome is not None and outcome.status == "finished":
            _keep_widths(folder, planned)
    except UserError:
        rollback.take_back(out, before, prepared.examples, lease)
        raise
    finally:
        ending.close()
        lease.release()
    if outcome is not None and outcome.status != "finished":
        return outcome.exit_code  # how to continue has been said; `sweep status` tells the rest
    return _conclude(out, planned, prepared.experiment.metric, as_json, with_page=outcome is not None)


def _tell(mended: Sequence[str]) -> None:
    for line in mended:
        note(line, style="yellow")


def _widths(prepared: PreparedSweep, left: Sequence[TrialJob]) -> EngineSetup:
    """Say how wide the trials that are left will train and decode, and return what their engine is to know of it."""
    to_come = prepared.jobs_to_come
    setup, known = setup_for(prepared.setup, [*left, *to_come], prepared.device)
    for one in known:
        note(one.sentence if len(known) == 1 else f"{one.sentence} ({' '.join(one.base)})", style="dim")
    return setup


def _keep_widths(folder: SweepFolder, planned: Sequence[PlannedTrial]) -> None:
    """Write into sweep.json how wide the trials ran, and say where memory narrowed them."""
    used = widths_used(TrialRecord(folder.trials_folder / trial.folder_name) for trial in planned)
    if used:
        folder.write_manifest(folder.manifest().model_copy(update={"pack_width": tuple(used)}))
    sentence = narrowed_sentence(used)
    if sentence:
        note(sentence, style="yellow")


def _introduce(prepared: PreparedSweep) -> None:
    """Say what runs on what, before anything takes long."""
    resolved = prepared.manifest.resolved
    note(f"{prepared.device.sentence}, {resolved.precision}")
    if prepared.manifest.banner:
        note(prepared.manifest.banner, style="bold yellow")
    model, data = resolved.model, resolved.data
    note(f"model: {model.label} ({model.kind}); data: {data.label} ({data.kind})")
    if prepared.experiment.search is not None:
        note(choose(prepared.experiment.search).reason, style="dim")
    if warm := warm_start_of(prepared):
        note(warm.sentence, style="dim")
    for line in prepared.notes:
        note(line, style="yellow" if line.startswith(sanity_report.PREFIX) else "dim")
    note(f"sweep: {short_path(prepared.options.out)}", style="dim")


def _conclude(out: Path, planned: Sequence[PlannedTrial], metric: str, as_json: bool, with_page: bool = False) -> int:
    """Print and write the comparison, and its page where trials have ended; return 1 where one has failed."""
    from analysis.compare import compare
    from analysis.findings.findings import Findings
    from analysis.render import terminal_tables
    from analysis.render.page import known_alarm
    from analysis.report import write_comparison, write_page

    with telling(), stage("comparing the trials"):
        found = compare(out, metric)
        findings = Findings(found)
        if with_page:
            write_page(out, metric, findings=findings)
        if metric == found.table.metric:
            write_comparison(findings)
    if as_json:
        from analysis.render import json_report  # its types take 60 ms

        command.print_json({"folder": str(out), **json_report.report_of(findings).document()})
    else:
        terminal_tables.to_terminal(command.results(), findings, known_alarm(found))
        curves = shlex.quote(str(short_path(out / "tensorboard")))
        note(f"written: {short_path(out / 'report')}; curves: tensorboard --logdir {curves}", style="dim")
    results = [TrialRecord(out / "trials" / trial.folder_name).result() for trial in planned]
    states = [result.state if result else TrialState.PENDING for result in results]
    if again := retry_sentence(states, continue_command.line(SweepFolder(out))):
        note(again, style="yellow")
    good = all(state in TRAINED for state in states)
    return DONE if good else SOME_FAILED


def short_path(path: Path) -> Path:
    """Return a path as short as it can be typed from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


app = command.app(run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep run", arguments)


if __name__ == "__main__":
    sys.exit(main())
