"""`sweep best`: which configuration to keep, and its adapter with a card that says how it was chosen (no torch)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweep.cli_support import command
from sweep.cli_support.command import existing_sweep
from sweep.cli_support.heartbeat import telling
from sweep.cli_support.options import JsonOption, MetricOption, RunArgument
from trainables.errors import UserError, cannot_write, nearest, shown
from trainables.records import atomic_files
from trainables.records.damage import adapter_faults, adapter_is_whole, told
from trainables.records.trial_states import TRAINED
from trainables.startup_progress import stage

if TYPE_CHECKING:
    from analysis.comparison.comparison import Comparison
    from analysis.format.terminal import Terminal
    from analysis.records.table import ResultRow
    from trainables.records.manifest import SweepManifest


def best(
    run: RunArgument,
    metric: MetricOption = None,
    evaluation: Annotated[str | None, typer.Option("--eval", help="Identity of another evaluation.")] = None,
    export: Annotated[Path | None, typer.Option("--export", help="Write the adapter there, in PEFT format.")] = None,
    name: Annotated[str | None, typer.Option("--trial", help="Name of a configuration in place of the best.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the configuration to keep, or those of several objectives; or write an adapter with a model card."""
    from analysis.compare import compare
    from analysis.findings.sentences import conclusions, headline

    folder = existing_sweep(run)
    found = compare(folder.folder, metric, evaluation)
    if found.hidden and name is None:
        command.note(f"sweep: {headline(found)}", style="red")
        return command.SOME_FAILED
    if found.best is None:
        raise UserError(f"{run} has no finished configuration yet: nothing to choose from")
    trial = _trial(found, name)
    if export is not None:
        if trial is None:
            names = ", ".join(one.name for one in found.front)
            raise UserError(f"--export needs --trial NAME: no single best, the Pareto set has {names}")
        export_best(found, trial, folder.manifest(), export)
    if as_json:
        from analysis.findings.findings import Findings  # with the next, some 100 ms that JSON alone takes
        from analysis.render.json_report import report_of

        document = report_of(Findings(found)).document()
        del document["rows"]
        if trial is not None:
            document["adapter"] = str(export or adapter_of(trial))
            document["train"] = trial.train and trial.train.model_dump()
        command.print_json(document)
        return command.DONE
    console = command.results()
    if found.table.banner:
        console.print(found.table.banner, style="bold yellow")
    for number, sentence in enumerate(conclusions(found)):
        console.print(sentence, style="bold green" if number == 0 else None)
    if found.front:
        _print_set(console, found)
    if trial is not None:
        of = f" of {trial.name}" if name else ""
        console.print(f"adapter{of}: {export or adapter_of(trial)}")
    return command.DONE


def _trial(found: Comparison, name: str | None) -> ResultRow | None:
    """Return the trial to export: the one that is named, else the best; None where there is no single best."""
    if name is None:
        return None if found.front else found.best_trial
    by_label = {row.label: row for row in found.table.of_kind("configuration") if row.state in TRAINED}
    by_name = {one.name: found.best_seed(one) for one in found.ranking}
    trial = by_name.get(name, by_label.get(name))
    if trial is None:
        raise UserError(f"--trial {shown(name)} is no finished configuration; {nearest(name, by_name)}")
    return trial


def _print_set(console: Terminal, found: Comparison) -> None:
    """Print the Pareto set with the value of each objective and what exports one."""
    from analysis.render.pareto_table import pareto_grid
    from analysis.render.terminal_tables import print_grid

    console.print()
    print_grid(console, pareto_grid(found))
    console.print(f"To export one: sweep best {found.table.folder} --export DIR --trial {found.front[0].name}")


def adapter_of(trial: ResultRow) -> Path:
    """Return the folder of a trial's adapter."""
    assert trial.record is not None
    return trial.record.adapter_folder


def export_best(found: Comparison, trial: ResultRow, sweep: SweepManifest, target: Path) -> None:
    """Copy an adapter to `target` with its card; raises UserError for a full folder or a damaged file."""
    from sweep.export.model_card import base_name, model_card

    assert trial.record is not None
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--export {target} must be a folder that is absent or empty")
    source = trial.record.adapter_folder
    weights = trial.record.weights_path
    if not weights.exists():
        result = trial.record.result()
        had_one = result is not None and result.adapter_sha256
        why = "it is gone; run the sweep again to redo it" if had_one else "the trial kept none"
        raise UserError(f"{source} holds no adapter: {why}")
    if found_faults := adapter_faults(trial.record):
        # A run looks at the size alone of a large one, which is then as it was.
        remedy = "remove it and run" if adapter_is_whole(trial.record) else "run"
        raise UserError(f"{trial.label}: {told(found_faults)}; {remedy} the sweep again to redo it")
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name(sweep.resolved.model)  # not where it was on this machine
    card = model_card(found, trial, sweep)
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
        atomic_files.write_text(target / "adapter_config.json", json.dumps(config, indent=1) + "\n")
        atomic_files.write_text(target / "README.md", card)
    except shutil.Error as error:
        raise UserError(f"--export {target} cannot be written ({error.args[0][0][2]})") from None
    except OSError as error:
        raise cannot_write(target, error) from None


app = command.app(best)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    with telling(), stage("comparing the trials"):
        return command.execute(app, "sweep best", arguments)


if __name__ == "__main__":
    sys.exit(main())
