"""What a launch shows: a live table on a terminal, one plain line per report elsewhere; read from the records."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from analysis.format.terminal import Live, Table, cell, notes
from sweep.cli_support import continue_command
from sweep.cli_support.heartbeat import SILENT_S
from sweep.monitor.engine_status import RunStatus
from sweep.monitor.jsonl_tail import JournalTail
from trainables.jobs import TrialJob, TrialReport
from trainables.records.atomic_files import DamagedFile
from trainables.records.finished import is_finished
from trainables.records.lineage import sentence
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import TrialState
from trainables.startup_progress import Stage
from trainables.startup_progress import sentence as stage_sentence
from trainables.units import duration

NOTEBOOKS = ("JPY_PARENT_PID", "COLAB_", "KAGGLE_", "DATABRICKS_RUNTIME_VERSION")
SILENT_GROWTH, SILENT_MOST_S = 1.5, 30.0  # of the time between lines that tell nothing new
NAMED = 4  # trials in a line; others are counted
STYLES = {"train": "bold", "evaluate": "bold", TrialState.DONE: "green", TrialState.STOPPED: "yellow", "waiting": "dim"}


@dataclass
class TrialProgress:
    """State, step and losses of one trial, as its record told last."""

    job: TrialJob
    name: str
    label: str
    tail: JournalTail
    state: str = "waiting"  # waiting, train, evaluate, or the state of its result
    step: int = 0
    loss: float | None = None
    loss_kind: str = ""
    rate: float | None = None  # optimizer steps a second, in this launch
    seconds: dict[str, float] = field(default_factory=dict)  # train_s, evaluate_s and steps of its result
    first: tuple[float, int] | None = None
    told: int = 0  # step of the last evaluation that was told
    changes: int = 0  # by population-based training that were told

    @property
    def steps(self) -> int:
        return self.job.trial.train.max_steps

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "train", "evaluate")


class ProgressBoard:
    """The trials of a launch, as their records say; `update` returns what happened since, as sentences."""

    def __init__(self, jobs: Iterable[TrialJob]) -> None:
        self.trials: dict[str, TrialProgress] = {}
        self.to_come = 0  # that a search has still to choose
        self.add(jobs)

    def add(self, jobs: Iterable[TrialJob]) -> None:
        """Show these as well; those that are shown already stay as they are."""
        for job in jobs:
            if (key := Path(job.folder).name) not in self.trials:
                trial = self.trials[key] = _shown(job)
                trial.told = max((row["step"] for row in self._read(trial) if row["kind"] == "eval"), default=0)
                self._changes(trial)

    @property
    def total(self) -> int:
        """Return how many trials there will be."""
        return len(self.trials) + self.to_come

    def update(self, running: list[RunStatus]) -> list[str]:
        """Look at the records again; `running` are the engines' runs."""
        reports = {run.key: run.report for run in running}
        lines = []
        for key, trial in self.trials.items():
            if trial.is_over:
                continue
            lines += [f"{describe(trial)}: changed at {change}" for change in self._changes(trial)]
            for row in self._read(trial):
                if row["kind"] == "eval" and row["step"] > trial.told:
                    trial.told = row["step"]  # a curve that was cut back is read from its beginning
                    lines.append(
                        f"{describe(trial)}: step {row['step']}/{trial.steps}, eval loss {row['eval_loss']:.4f}"
                    )
            trial.state = _phase(trial, reports.get(key)) if key in reports else "waiting"
            if is_finished(trial.job):
                lines.append(self._finish(trial))
        return lines

    def _read(self, trial: TrialProgress) -> list[dict[str, Any]]:
        rows, _ = trial.tail.read()
        for row in rows:
            trial.step = row["step"]
            kind = {"train": "train_loss", "eval": "eval_loss"}.get(row["kind"])
            if kind is not None and isinstance(row.get(kind), int | float):
                trial.loss, trial.loss_kind = row[kind], row["kind"]
        if rows:
            now = time.monotonic()
            if trial.first is None or trial.step < trial.first[1]:
                trial.first = (now, trial.step)
            elif now > trial.first[0] and trial.step > trial.first[1]:
                trial.rate = (trial.step - trial.first[1]) / (now - trial.first[0])
        return rows

    def _changes(self, trial: TrialProgress) -> list[str]:
        """Return what population-based training changed since the last look."""
        lineage = TrialRecord(Path(trial.job.folder)).lineage()
        new, trial.changes = lineage[trial.changes :], len(lineage)
        if new:
            trial.told = new[-1]["donor_step"]
        return [sentence(line) for line in new]

    def _finish(self, trial: TrialProgress) -> str:
        result = TrialRecord(Path(trial.job.folder)).result() or TrialResult(state=TrialState.FAILED)
        trial.state = result.state
        numbers = {"train_s": result.train_s, "evaluate_s": result.evaluate_s, "steps": result.steps}
        trial.seconds = {key: float(value) for key, value in numbers.items() if value is not None}
        took = f" in {duration(result.wall_s)}" if result.wall_s is not None else ""
        cause = f": {result.cause}" if result.cause else ""
        return f"{describe(trial)}: {trial.state}{took}{cause}"

    @property
    def finished(self) -> int:
        return sum(trial.is_over for trial in self.trials.values())

    def sentence(self) -> str:
        """Say which trials are trained and evaluated, and how many are finished."""
        phases = {"training": "train", "evaluating": "evaluate"}
        named = {
            verb: [one.name for one in self.trials.values() if one.state == state] for verb, state in phases.items()
        }
        parts = [f"{verb} {_listed(names)}" for verb, names in named.items() if names]
        return "; ".join([*parts, f"{self.finished} of {self.total} trials are finished"])

    def left_s(self, engines: int) -> float | None:
        """Return the seconds left for all trials, None before the first one has told what a step and an end take."""
        over = [trial.seconds for trial in self.trials.values() if trial.is_over and trial.seconds]
        evaluations = [seconds["evaluate_s"] for seconds in over if "evaluate_s" in seconds]
        trained = [
            (seconds["train_s"], seconds["steps"])
            for seconds in over
            if seconds.get("steps", 0) > 0 and "train_s" in seconds
        ]
        rates = [trial.rate for trial in self.trials.values() if trial.rate]
        if not evaluations:
            return None
        if trained:
            step_s = sum(train for train, _ in trained) / sum(steps for _, steps in trained)
        elif rates:
            step_s = len(rates) / sum(rates)
        else:
            return None
        evaluate_s = sum(evaluations) / len(evaluations)
        open_trials = [trial for trial in self.trials.values() if not trial.is_over]
        shown_s = sum((trial.steps - trial.step) * step_s + evaluate_s for trial in open_trials)
        steps = [trial.steps for trial in self.trials.values() if trial.steps]
        each_s = evaluate_s + (sum(steps) / len(steps) * step_s if steps else 0.0)
        return (shown_s + self.to_come * each_s) / engines


class ProgressDisplay:
    """Shows a board until it is closed; use as a context manager."""

    def __init__(self, folder: SweepFolder, jobs: Iterable[TrialJob], headline: str, quiet: bool = False) -> None:
        self.folder = folder
        self.board = ProgressBoard(jobs)
        self.console = notes(quiet=quiet, soft_wrap=not is_live())
        self.headline = headline
        self._started = time.monotonic()
        self._said = self._told = self._started  # when the last line was printed, and the last one with news
        self._pause_s = SILENT_S
        self._has_ended = False
        self._live: Live | None = None

    def __enter__(self) -> ProgressDisplay:
        self.console.print(self.headline)
        if is_live() and self.console.is_terminal and not self.console.quiet:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, running: list[RunStatus], engines: int = 1, stage: Stage | None = None) -> None:
        """Show what the records say now; `engines` share what is left, `stage` is what trials wait for."""
        lines = self.board.update(running)
        if self._live is not None:
            with contextlib.suppress(OSError):  # of a terminal that was closed
                self._live.update(self._table(max(1, engines), stage), refresh=True)
            return
        for line in lines:
            self.say(line)
        silent_s = time.monotonic() - self._said
        if stage is not None and silent_s > SILENT_S:
            self.say(f"  {stage_sentence(stage)}")
        elif stage is None and running and silent_s > self._pause_s:
            self._say_what_goes_on()

    def know(self, jobs: Iterable[TrialJob], to_come: int) -> None:
        """Show these jobs as well, and count those that a search has still to choose."""
        self.board.add(jobs)
        self.board.to_come = to_come

    def say(self, line: str) -> None:
        """Print a line above what is shown."""
        self._said = self._told = time.monotonic()
        self._pause_s = SILENT_S
        self.console.print(line, soft_wrap=True)

    def _say_what_goes_on(self) -> None:
        """Print what trials are busy with, ever more seldom while nothing is news."""
        self._said = time.monotonic()
        self._pause_s = min(self._pause_s * SILENT_GROWTH, SILENT_MOST_S)
        self.console.print(f"  {self.board.sentence()} ({duration(self._said - self._told)})", soft_wrap=True)

    def close(self) -> None:
        """Show the last state and end the live table; safe to call twice."""
        self.update([])
        if self._live is not None:
            live, self._live = self._live, None
            table = self._table(1)
            with contextlib.suppress(OSError):
                live.stop()
            self.console.print(table)

    def say_how_to_continue(self, reason: str, command: str | None = None) -> None:
        """Print why the launch ends early, and the command that continues, by default the sweep's own; once."""
        if self._has_ended:
            return
        self._has_ended = True
        command = continue_command.one_line(command) if command else continue_command.line(self.folder)
        total = self.board.total
        self.console.print(f"{reason}: {self.board.finished} of {total} trials are finished; continue with")
        self.console.print(f"  {command}", soft_wrap=True)

    def _table(self, engines: int, stage: Stage | None = None) -> Table:
        table = Table(caption=self._caption(engines, stage), box=None, padding=(0, 2, 0, 0), caption_justify="left")
        for title, justify in (("", "left"), ("changes", "left"), ("state", "left"), ("step", "right")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        for title in ("loss", "", "steps/s"):
            table.add_column(title, justify="right" if title else "left")
        for trial in self._visible():
            style = STYLES.get(trial.state, "red")
            loss = f"{trial.loss:.4f}" if trial.loss is not None else ""
            step = f"{trial.step}/{trial.steps}" if trial.steps else ""
            rate = f"{trial.rate:.2f}" if trial.rate and trial.state == "train" else ""
            state = cell(trial.state, style)
            table.add_row(trial.name, trial.label, state, step, loss, trial.loss_kind, rate)
        return table

    def _visible(self) -> list[TrialProgress]:
        """Return the trials that fit the terminal: all of them, or those around the ones that run."""
        trials = list(self.board.trials.values())
        room = max(4, self.console.height - 5)
        if len(trials) <= room:
            return trials
        busy = [number for number, trial in enumerate(trials) if trial.state in ("train", "evaluate")]
        start = max(0, min((busy[0] if busy else self.board.finished) - 2, len(trials) - room))
        return trials[start : start + room]

    def _caption(self, engines: int, stage: Stage | None) -> str:
        parts = [f"{self.board.finished} of {self.board.total} finished"]
        parts.append(f"{duration(time.monotonic() - self._started)} so far")
        # A trial's seconds are those of the device that it had for itself, however many shared it.
        left = self.board.left_s(engines)
        if left is not None and self.board.finished < self.board.total:
            parts.append(f"about {duration(left)} left")
        if stage is not None:
            parts.append(stage_sentence(stage))
        return ", ".join(parts)


def is_live() -> bool:
    """Tell whether a table can be redrawn: not in a notebook, whose cells have a pseudo-terminal."""
    in_notebook = any(name.startswith(NOTEBOOKS) for name in os.environ)
    return not in_notebook and os.environ.get("TERM") != "dumb"


def describe(trial: TrialProgress) -> str:
    """Name a trial by its letter and by what it changes."""
    return trial.label if trial.label.startswith(trial.name) else f"{trial.name} ({trial.label})"


def _shown(job: TrialJob) -> TrialProgress:
    record = TrialRecord(Path(job.folder))
    try:
        config = record.config()
    except (FileNotFoundError, DamagedFile):
        config = {"name": record.folder.name, "label": record.folder.name}
    return TrialProgress(job, config["name"], config["label"], JournalTail(record.metrics_path))


def _phase(trial: TrialProgress, report: TrialReport | None) -> str:
    return "evaluate" if (report and report.phase != "train") or trial.step >= trial.steps else "train"


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:NAMED])} and {more} more"
