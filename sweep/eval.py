"""`sweep eval`: kept adapters evaluated anew, by another decoding, on other examples, or by other metrics.

Nothing is trained. Each evaluation has an identity of its own and is kept beside the others; no comparison is made
across identities. Texts that another evaluation has written alike are taken from it: more examples cost the new ones
alone, and where only the metrics differ, or fewer examples are asked for, no model is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.cli_support import command
from sweep.cli_support.command import DONE, SOME_FAILED, existing_sweep, note
from sweep.cli_support.continue_command import with_command
from sweep.cli_support.heartbeat import telling
from sweep.cli_support.options import (
    ENGINES,
    AddressOption,
    DecodingOption,
    DeviceOptions,
    EngineOptions,
    JsonOption,
    MaxNewTokensOption,
    MetricOption,
    RunArgument,
    TrustOption,
)
from sweep.environment.devices import resolve_device
from sweep.environment.provenance import command_line
from sweep.request import estimates, found_sources, output_folder
from trainables.config import DECODINGS, EvalConfig, TrialConfig, configured, eval_id
from trainables.data.corpus import Example, example_of
from trainables.errors import UserError, cannot_write, one_of
from trainables.jobs import EngineSetup, TrialJob
from trainables.metric_table import FAMILIES, LOSS
from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.scoring import evaluate_library
from trainables.scoring.metrics import score_names
from trainables.scoring.stored_lines import covers
from trainables.startup_progress import stage

if TYPE_CHECKING:
    from sweep.ray_driver.launch import LaunchOptions

SPLITS = ("validation", "test")


def evaluate(
    run: RunArgument,
    decoding: DecodingOption = None,
    examples: Annotated[int | None, typer.Option("--examples", min=1, help="Examples of each split.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="validation or test alone; default: both.")] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help=f"{','.join(FAMILIES)},evaluate:NAME_OR_PATH.")
    ] = None,
    max_new_tokens: MaxNewTokensOption = None,
    metric: MetricOption = None,
    engines: EngineOptions = EngineOptions(),
    devices: DeviceOptions = DeviceOptions(),
    address: AddressOption = None,
    trust_remote_code: TrustOption = False,
    as_json: JsonOption = False,
) -> int:
    """Evaluate the kept adapters of a sweep anew, without training, and print the comparison."""
    from sweep.ray_driver.launch import LaunchOptions

    one_of("--engine", engines.engine, ENGINES)
    most = command.memory_cap_bytes(devices.memory)
    again = command_line("eval", sys.argv[1:])
    launching = LaunchOptions(
        engine=engines.engine, engines_per_gpu=engines.engines_per_gpu, address=address, command=again
    )
    folder = existing_sweep(run)
    sweep = folder.manifest()
    try:
        output_folder.probe(folder.folder)
    except OSError as error:
        raise cannot_write(folder.folder, error) from None
    evaluation = changed_by_options(
        EvalConfig.model_validate(sweep.evaluation), decoding, examples, split, metrics, max_new_tokens
    )
    one_of("--metric", metric or sweep.metric, [*score_names(evaluation.metrics), LOSS])
    _check_examples(folder, evaluation)
    identity = eval_id(evaluation)
    left = [record for record in _kept(folder) if record.needs_evaluation(identity)]
    if left:
        setup = partial(_setup, folder, sweep, left, evaluation, devices, trust_remote_code, most)
        code = _evaluate(folder, evaluation, left, setup, launching)
        if code:
            return code  # how to continue has been said
    return _conclude(folder, metric, identity, as_json)


def changed_by_options(
    evaluation: EvalConfig,
    decoding: str | None,
    examples: int | None,
    split: str | None,
    metrics: str | None,
    max_new_tokens: int | None,
) -> EvalConfig:
    """Return the evaluation as asked for; raises UserError for an unknown decoding, split or metric."""
    values = evaluation.model_dump()
    if decoding is not None:
        values["decoding"] = DECODINGS[one_of("--decoding", decoding, DECODINGS)]
    if split is not None:
        one_of("--split", split, SPLITS)
    for name in SPLITS:
        if split not in (None, name):
            values[f"{name}_examples"] = 0
        elif examples is not None:
            values[f"{name}_examples"] = examples
    if metrics is not None:
        values["metrics"] = tuple(_metric(name.strip()) for name in metrics.split(","))
    if max_new_tokens is not None:
        values["max_new_tokens"] = max_new_tokens
    return configured(EvalConfig, values)


def _metric(name: str) -> str:
    return evaluate_library.entry_of(name) or one_of("--metrics", name, (*FAMILIES, "evaluate:NAME_OR_PATH"))


def _check_examples(folder: SweepFolder, evaluation: EvalConfig) -> None:
    folder.check_examples()
    kept = _examples(folder, evaluation)
    for split, wanted in evaluation.examples.items():
        there = len(kept[split])
        if wanted > there:
            raise UserError(
                f"--examples must be at most {there}, the {split} examples that the sweep keeps, got {wanted}"
            )


def _kept(folder: SweepFolder) -> list[TrialRecord]:
    """Return the records that can be evaluated, baselines first."""
    ended = [record for record in folder.records() if (result := record.result()) and result.is_trained]
    if not ended:
        raise UserError(f"{folder.folder} has no finished trial to evaluate")
    return sorted(ended, key=lambda record: record.config()["kind"] != "baseline")


def _evaluate(
    folder: SweepFolder,
    evaluation: EvalConfig,
    records: Sequence[TrialRecord],
    make_setup: Callable[[], EngineSetup],
    launching: LaunchOptions,
) -> int:
    """Evaluate `records`: those whose stored predictions hold all texts from these, the others by their model."""
    from sweep.environment.lease import acquire

    again = [record for record in records if covers(record, evaluation)]
    anew = [record for record in records if record not in again]
    setup = make_setup() if anew else None
    lease = acquire(folder.folder)
    try:
        held = SweepFolder(folder.folder, lease.fence)
        held.write_manifest(with_command(held.manifest(), launching.command or "", ""))
        if again:
            from trainables.scoring.rescore import rescore

            note(f"scoring {len(again)} trials from their stored predictions")
            examples = _examples(folder, evaluation)
            with telling(), stage("scoring stored predictions", of=len(again)) as scored:
                for record in again:
                    rescore(TrialRecord(record.folder, lease.fence), evaluation, examples)
                    scored()
        if setup is not None:
            jobs = [
                TrialJob(str(record.folder), TrialConfig(train=record.train_config(), evaluation=evaluation))
                for record in anew
            ]
            from sweep.ray_driver.launch import launch

            setup = replace(setup, trials=tuple(job.trial for job in jobs))
            return launch(SweepFolder(folder.folder, lease.fence), lease, jobs, setup, launching).exit_code
    finally:
        lease.release()
    return DONE


def _setup(
    folder: SweepFolder,
    sweep: SweepManifest,
    left: Sequence[TrialRecord],
    evaluation: EvalConfig,
    devices: DeviceOptions,
    trust_remote_code: bool,
    memory_bytes: int | None,
) -> EngineSetup:
    bases = found_sources.find_models_again(sweep.resolved, sweep.model_hint, trust_remote_code)
    for train in (record.train_config() for record in left):
        estimates.check_new_tokens(train, evaluation, bases.model_folders[train.model])
    found_sources.sources.go_offline()
    used = resolve_device(devices.device, False, sweep.experiment)
    note(f"{used.sentence}, {sweep.resolved.precision}")
    if sweep.banner:
        note(sweep.banner, style="bold yellow")
    return EngineSetup(
        str(folder.folder),
        bases.model_folders,
        used.kind,
        trust_remote_code,
        pack_width=devices.pack_width,
        memory_bytes=memory_bytes,
    )


def _examples(folder: SweepFolder, evaluation: EvalConfig) -> dict[str, list[Example]]:
    paths = {split: folder.evaluation_examples_path(split) for split in evaluation.examples}
    return {split: [example_of(row) for row in atomic_files.read_lines(path)] for split, path in paths.items()}


def _conclude(folder: SweepFolder, metric: str | None, identity: str, as_json: bool) -> int:
    from analysis.compare import compare
    from analysis.findings.findings import Findings
    from analysis.render import json_report, terminal_tables
    from analysis.render.page import known_alarm
    from analysis.report import write_comparison, write_page

    found = compare(folder.folder, metric, identity)
    findings = Findings(found)
    write_page(found.table.folder, findings=findings)
    write_comparison(findings)
    if as_json:
        command.print_json({"folder": str(folder.folder), **json_report.report_of(findings).document()})
    else:
        terminal_tables.to_terminal(command.results(), findings, known_alarm(found))
    missing = [record for record in _kept(folder) if record.needs_evaluation(identity)]
    return SOME_FAILED if missing else DONE


app = command.app(evaluate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep eval", arguments)


if __name__ == "__main__":
    sys.exit(main())
