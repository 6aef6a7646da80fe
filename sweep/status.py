"""`sweep status`: how far a sweep is and who is writing it (no torch, no ray)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.format.terminal import Table, cell
from search_spaces.points import parameters_of
from search_spaces.search import from_json
from sweep.cli_support import command, continue_command
from sweep.cli_support.command import existing_sweep
from sweep.cli_support.options import JsonOption
from sweep.environment import lease
from sweep.list import print_sweeps, sweeps_and_progress
from sweep.request.search_points import remaining
from sweep.request.trials import retry_sentence
from sweep.settle.sentences import is_going, race_line
from trainables.config import EvalConfig, eval_id
from trainables.records import atomic_files, journal
from trainables.records.damage import faults_of, hides_score, told
from trainables.records.lineage import sentence
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import FAILURES, TRAINED, TrialState

COLORS = {TrialState.DONE: "green", TrialState.PENDING: "dim", "running": "bold", TrialState.STOPPED: "yellow"}


@dataclass(frozen=True)
class TrialStatus:
    """How far a trial is; `state` is a TrialState, "running" or "damaged"."""

    name: str
    label: str
    state: str
    cause: str | None
    damage: str | None
    step: int
    steps: int | None
    eval_loss: float | None
    evaluated: bool
    wall_s: float | None
    changes: tuple[str, ...]  # by population-based training, a sentence each


@dataclass(frozen=True)
class SweepWriter:
    """The process that writes to a sweep."""

    host: str
    pid: int
    renewed_at: str


@dataclass(frozen=True)
class PointsHeld:
    """How far a search is: points that the sweep holds, of those asked for, and those still to be chosen."""

    held: int
    trials: int
    to_come: int


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is, who writes it and what continues it."""

    folder: str
    experiment: str
    banner: str | None
    model: str
    data: str
    eval_id: str
    race: str | None  # of a sweep with --settle: how it stands
    states: dict[str, int]
    written_by: SweepWriter | None
    continue_with: str
    continue_with_each: tuple[str, ...]
    is_left: bool
    search: PointsHeld | None
    absent_file: str | None
    trials: tuple[TrialStatus, ...]


SomeRun = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Folder of a sweep, or its name under runs/; default: list them.")
]


def status(run: SomeRun = None, as_json: JsonOption = False) -> None:
    """Show the state of every trial of a sweep, and who is writing it."""
    if run is None:
        _print_sweeps(as_json)
        return
    found = sweep_status(existing_sweep(run))
    if as_json:
        command.print_json(asdict(found))
    else:
        _print(found)


def sweep_status(folder: SweepFolder) -> SweepStatus:
    """Return states, progress and the lease's holder."""
    sweep = folder.manifest()
    holder = _holder(folder.folder)
    looked_at = eval_id(EvalConfig.model_validate(sweep.settle["first"])) if sweep.settle else sweep.eval_id
    trials = tuple(_trial(record, sweep.eval_id, looked_at, holder is not None) for record in folder.records())
    search = _points_held(folder, sweep.search) if sweep.search else None
    return SweepStatus(
        folder=str(folder.folder),
        experiment=sweep.experiment,
        banner=sweep.banner,
        model=sweep.resolved.model.label,
        data=sweep.resolved.data.label,
        eval_id=sweep.eval_id,
        race=race_line(sweep.settle),
        states=dict(Counter(trial.state for trial in trials)),
        written_by=holder,
        continue_with=continue_command.line(folder),
        continue_with_each=tuple(continue_command.lines(folder)),
        is_left=any(_is_left(trial) for trial in trials) or is_going(sweep.settle) or bool(search and search.to_come),
        search=search,
        absent_file=continue_command.absent_file(folder),
        trials=trials,
    )


def _points_held(folder: SweepFolder, kept: Mapping[str, Any]) -> PointsHeld:
    space, held = from_json(kept), []
    for record in folder.records():
        with suppress(FileNotFoundError, atomic_files.DamagedFile, ValueError):
            train = record.train_config()
            point = None if train.is_baseline else parameters_of(space, train)
            held += [] if point is None else [point]
    infeasible = [row["parameters"] for row in journal.read(folder.infeasible_path).rows]
    return PointsHeld(len(held), space.trials, remaining(space, held, infeasible))


def _print_sweeps(as_json: bool) -> None:
    sweeps = sweeps_and_progress()
    if as_json:
        command.print_json({"sweeps": sweeps})
    elif sweeps:
        print_sweeps(sweeps)
        command.results().print("More of one: python -m sweep.status RUN")
    else:
        command.results().print("There is no sweep under runs/; start one: python -m sweep.run grid_2x2x2")


def _trial(record: TrialRecord, eval_id: str, looked_at: str, is_live: bool) -> TrialStatus:
    """Return how far a trial is; `looked_at` is the evaluation that its command has it made for, `eval_id` the last."""
    read = cache(journal.read)
    found = faults_of(record, eval_id, read=read)
    try:
        config = record.config()
    except (FileNotFoundError, atomic_files.DamagedFile):
        config = {"train": {}}
    result = record.result()
    rows = read(record.metrics_path).rows
    losses = [row["eval_loss"] for row in rows if row["kind"] == "eval"]
    state: str = result.state if result else "running" if rows and is_live else TrialState.PENDING
    if hides_score(record, found) and state != "running":
        state = "damaged"
    return TrialStatus(
        name=config.get("name", record.folder.name),
        label=config.get("label", record.folder.name),
        state=state,
        cause=result.cause if result else None,
        damage=told(found) or None,
        step=max((row["step"] for row in rows), default=0),
        steps=config["train"].get("max_steps"),
        eval_loss=losses[-1] if losses else None,
        # One that a race has added has the last evaluation alone.
        evaluated=not (record.needs_evaluation(looked_at) and record.needs_evaluation(eval_id)),
        wall_s=result.wall_s if result else None,
        changes=tuple(sentence(line) for line in record.lineage()),
    )


def _remark(trial: TrialStatus) -> str:
    """Return why a trial failed, or how population-based training changed it last."""
    changed = [] if not trial.changes else [f"changed {len(trial.changes)}x, last at {trial.changes[-1]}"]
    return "; ".join(filter(None, (trial.cause, trial.damage, *changed)))


def _holder(folder: Path) -> SweepWriter | None:
    held = lease.read(folder)
    if held is None or lease.is_stale(folder, held):
        return None
    return SweepWriter(held["host"], held["pid"], held["renewed_at"])


def _print(found: SweepStatus) -> None:
    console = command.results()
    if found.banner:
        console.print(found.banner, style="bold yellow")
    states = ", ".join(f"{count} {state}" for state, count in found.states.items())
    console.print(f"{found.experiment}: {found.model} on {found.data}; {states}")
    if found.search is not None:
        console.print(f"search: {found.search.held} of {found.search.trials} points have been chosen")
    table = Table()
    for title in ("name", "trial", "state", "step", "eval loss", "evaluated", "remark"):
        table.add_column(title, justify="right" if title in ("step", "eval loss") else "left")
    for trial in found.trials:
        loss = "" if trial.eval_loss is None else f"{trial.eval_loss:.4f}"
        step = f"{trial.step}/{trial.steps}" if trial.steps else ""
        state = cell(trial.state, COLORS.get(trial.state, "red"))
        cells = (step, loss, "yes" if trial.evaluated else "", _remark(trial))
        table.add_row(trial.name, trial.label, state, *cells)
    console.print(table)
    if found.race:
        console.print(found.race, soft_wrap=True)
    holder = found.written_by
    if holder:
        console.print(f"being written by process {holder.pid} on {holder.host}")
        return
    again = retry_sentence((trial.state for trial in found.trials), found.continue_with)
    if found.is_left:
        first, *others = found.continue_with_each
        console.print(f"continue with: {first}", soft_wrap=True)
        for other in others:
            console.print(f"and for what was asked before: {other}", soft_wrap=True)
    if again:
        console.print(again, soft_wrap=True)
    if found.absent_file and (again or found.is_left):
        console.print(found.absent_file, soft_wrap=True)


def _is_left(trial: TrialStatus) -> bool:
    """Tell whether the command that continues would do something about a trial."""
    return trial.state not in FAILURES and (trial.state not in TRAINED or not trial.evaluated)


app = command.app(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep status", arguments)


if __name__ == "__main__":
    sys.exit(main())
