"""A small sweep of the bundled model that is started, watched, struck and compared, by the command line alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TrialState

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 420.0
SMALL_TASK = (
    *("grid_2x2x2", "--device", "cpu", "prompt=v1"),
    *("train_examples=16", "--eval-examples", "8,12", "--max-new-tokens", "8"),
)
SMALL = (*SMALL_TASK, "lora_rank=4")
BUNDLED = ("--source", "bundled")
LOSS_DIFFERS = 1e-5  # relative, as the packed engine promises
SHOWN = ("kind", "step", "train_loss", "eval_loss")


class NotAsUndisturbed(AssertionError):
    """A sweep that was struck differs from one that was not, or did not say or do what it should."""


@dataclass
class Sweep:
    """One sweep in a folder; its output is kept beside it."""

    out: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.out.parent / f"{self.out.name}.log"

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    @property
    def said(self) -> str:
        """Return the output as one line, however it was wrapped."""
        return " ".join(self.output.split())

    def start(self) -> psutil.Process:
        """Start the command, or continue what it began."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sweep.run", *self.arguments, "--out", str(self.out)],
                cwd=ROOT, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **self.environment},
            )  # fmt: skip
        return psutil.Process(self.process.pid)

    def end(self, code: int = 0, patience_s: float = PATIENCE_S) -> None:
        """Wait for the command; raises NotAsUndisturbed where it ends with another code."""
        assert self.process is not None
        found = self.process.wait(timeout=patience_s)
        if found != code:
            raise NotAsUndisturbed(f"exit {found} in place of {code}: {self.output[-1500:]}")

    def run(self) -> Sweep:
        self.start()
        self.end()
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def wait_for(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> bool:
        """Wait until something holds; False where the command ended before."""
        assert self.process is not None
        until = time.monotonic() + patience_s
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > until:
                raise NotAsUndisturbed(f"nothing came of it within {patience_s:.0f} s: {self.output[-1500:]}")
            time.sleep(0.02)
        return True

    def records(self) -> list[TrialRecord]:
        return SweepFolder(self.out).records()

    def steps(self) -> int:
        """Return the optimizer steps of all trials, as their curves have them now."""
        return sum(row["kind"] == "train" for record in self.records() for row in record.metrics())

    def is_evaluating(self) -> bool:
        """Tell whether a trial has been trained and has no result yet."""
        for record in self.records():
            steps = record.config()["train"]["max_steps"]
            if steps and not record.result_path.exists() and any(row["step"] == steps for row in record.metrics()):
                return True
        return False

    def train_on(self, chance: random.Random, least: int, most: int) -> bool:
        """Wait for a seeded number of further steps; False where the command ended before."""
        goal = self.steps() + chance.randint(least, most)
        return self.wait_for(lambda: self.steps() >= goal)

    def results(self) -> dict[Path, bytes]:
        return {path.relative_to(self.out): path.read_bytes() for path in self.out.glob("trials/*/result.json")}


def still_there(sweep: Sweep, finished: dict[Path, bytes]) -> None:
    """Raise NotAsUndisturbed unless these results are there as they were."""
    now = sweep.results()
    if {path: now.get(path) for path in finished} != finished:
        raise NotAsUndisturbed("a finished trial has run again")


def process_of(driver: psutil.Process, name: str) -> psutil.Process | None:
    """Return a process below a driver by its name, or by the title that Ray gives it."""
    for child in driver.children(recursive=True):
        try:
            if child.name() == name or " ".join(child.cmdline()).startswith(f"ray::{name}"):
                return child
        except psutil.Error:
            continue
    return None


def curve(record: TrialRecord) -> list[tuple[Any, ...]]:
    return [tuple(row.get(key) for key in SHOWN) for row in record.metrics()]


def compare(sweep: Sweep, whole: Sweep, stopped_early: bool = False) -> float:
    """Return the largest relative difference of a loss; raises NotAsUndisturbed where anything else differs.

    `stopped_early`: a scheduler may have ended trials elsewhere; their curves are then compared as far as they go.
    """
    mine, others = ({one.config()["train_id"]: one for one in each.records()} for each in (sweep, whole))
    if set(mine) != set(others):
        raise NotAsUndisturbed(f"other trials: {sorted(mine)} in place of {sorted(others)}")
    worst = 0.0
    for identity, record in mine.items():
        ended, expected = _end(record), _end(others[identity])
        if ended[0] != expected[0] and not (stopped_early and ended[0] == TrialState.STOPPED):
            raise NotAsUndisturbed(f"{record.folder.name}: {ended[0]} in place of {expected[0]}")
        got, wanted = curve(record), curve(others[identity])
        if not stopped_early and len(got) != len(wanted):
            raise NotAsUndisturbed(f"{record.folder.name}: a curve of {len(got)} in place of {len(wanted)} rows")
        for one, other in zip(got, wanted, strict=False):
            if one[:2] != other[:2]:
                raise NotAsUndisturbed(f"{record.folder.name}: {one} in place of {other}")
            worst = max(worst, *(_difference(*pair) for pair in zip(one[2:], other[2:], strict=True)))
        if ended[1] == expected[1]:
            _same_texts(record, others[identity])
    if worst > LOSS_DIFFERS:
        raise NotAsUndisturbed(f"a loss differs by {worst:.1e}")
    return worst


def _end(record: TrialRecord) -> tuple[str | None, int | None]:
    """Return the state and the steps of a trial's result, None where it has none."""
    result = record.result()
    return (result.state, result.steps) if result else (None, None)


def _difference(one: float | None, other: float | None) -> float:
    if one is None or other is None:
        return 0.0 if one == other else float("inf")
    return abs(one - other) / max(abs(other), 1e-12)


def _same_texts(record: TrialRecord, other: TrialRecord) -> None:
    for identity in other.evaluation_ids():
        for path in sorted(other.evaluation_folder(identity).glob("predictions-*.jsonl")):
            rows = [
                [(row["id"], row["text"]) for row in map(json.loads, one.read_text(encoding="utf-8").splitlines())]
                for one in (path, record.evaluation_folder(identity) / path.name)
            ]
            if rows[0] != rows[1]:
                raise NotAsUndisturbed(f"{record.folder.name}: other texts in {path.name}")
