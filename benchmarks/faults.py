"""`python -m benchmarks.faults`: sweeps that are struck at seeded moments, compared with one that nothing happened to.

Every kind of `fault_kinds` as often as asked; a row says how many passed. Outside of the continuous integration: it
takes tens of minutes. Where there is no right to mount a disk or to make a control group, its row says so.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import fault_kinds as kinds
from benchmarks.fault_searches import ONE_PLACE, SEARCH, kills_of_a_search
from benchmarks.fault_sweep import BUNDLED, SMALL, Sweep
from benchmarks.hostile import write_hostile
from benchmarks.output import RESULTS, Findings, ResultsOption, positive, publish, table
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from sweep.environment.devices import resolve_device
from trainables.errors import one_of

KILLS_A_SWEEP = 5
SIGNALS_A_SWEEP = 3
# Four configurations of so many steps: enough to be struck several times.
TRAINING = ("learning_rate=1e-2,5e-3,2e-3,1e-3", "max_steps=48")
NAMES = ("driver", "search", "one-place", "signal", "below", "disk", "memory", "elsewhere")


@dataclass
class Tally:
    """What came of one kind."""

    title: str
    seeds: list[str] = field(default_factory=list)
    passed: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def strike(self, seed: str, folder: Path, fault: Callable[[Path, random.Random], str]) -> None:
        """Strike one sweep in a folder of its own, which is kept where it fails."""
        self.seeds.append(seed)
        began = time.monotonic()
        place = folder / seed.replace(" ", "-")
        try:
            self.notes.append(fault(place, random.Random(seed)))
            self.passed += 1
            shutil.rmtree(place, ignore_errors=True)
        except Exception as error:
            self.notes.append(f"{seed}: {type(error).__name__}: {error}".replace(str(folder), "..."))
            traceback.print_exc(file=sys.stderr)
            command.note(f"kept in {place}")
        self.seconds += time.monotonic() - began

    @property
    def row(self) -> list[str]:
        of = f"{self.passed} of {len(self.seeds)}" if self.seeds else "not run here"
        return [self.title, of, f"{self.seconds:.0f} s", "; ".join(dict.fromkeys(self.notes))[:400]]


def faults(
    only: Annotated[
        str, typer.Option("--only", help="Kinds: driver, search, one-place, signal, below, disk, memory, elsewhere.")
    ] = ",".join(NAMES),
    kills: Annotated[
        int, typer.Option("--kills", help="Kills of the driver in all, and of a search in all, five a sweep.")
    ] = 20,
    times: Annotated[int, typer.Option("--times", help="Sweeps of every other kind.")] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Of the moments.")] = 1,
    results: ResultsOption = RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Strike sweeps and say how many came through as if nothing had happened."""
    chosen = [one_of("--only", part.strip(), NAMES) for part in only.split(",")]
    positive("--kills", kills)
    positive("--times", times)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    tallies = run_kinds(folder, chosen, kills, times, seed)
    rows = [tally.row for tally in tallies]
    columns = ("fault", "passed", "took", "seen")
    sentence = (
        f"Moments drawn from the seeds {', '.join(dict.fromkeys(one for tally in tallies for one in tally.seeds))}. "
        "Passed: the same trials, states, texts and curves (losses within 1e-5) as in a sweep that nothing happened "
        "to, and no finished trial run again; under ASHA, where who comes first goes on, curves as far as they go."
    )
    facts = {"rows": [dict(zip(columns, row, strict=True)) for row in rows], "seed": seed}
    device = resolve_device("cpu", False, "this benchmark")
    publish(Findings("faults", [table("Faults", columns, rows), sentence], facts), device, results, as_json)
    good = all(tally.passed == len(tally.seeds) for tally in tallies)
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    return command.DONE if good else command.SOME_FAILED


def run_kinds(folder: Path, chosen: Sequence[str], kills: int, times: int, seed: int) -> list[Tally]:
    """Return what came of each chosen kind."""
    whole = Sweep(folder / "whole" / "run", [*SMALL, *BUNDLED, *TRAINING])
    if {"driver", "signal", "below", "disk", "memory"} & set(chosen):
        whole.run()
    tallies: list[Tally] = []

    def kind(name: str, title: str, count: int, fault: Callable[..., str], *more: Any, can: bool = True) -> None:
        if name not in chosen:
            return
        tally = Tally(title, notes=[] if can else ["no right to do it here"])
        for number in range(count if can else 0):
            command.note(f"{title}: {number + 1} of {count}", style="dim")
            tally.strike(f"{name} {seed} {number}", folder, lambda at, chance: fault(at, chance, *more))
        tallies.append(tally)

    sweeps = -(-kills // KILLS_A_SWEEP)
    kind(
        "driver",
        f"kill -9 of the driver, ASHA, {KILLS_A_SWEEP} a sweep",
        sweeps,
        kinds.kills_of_the_driver,
        whole,
        KILLS_A_SWEEP,
    )
    kind("search", f"kill -9 of a search, {KILLS_A_SWEEP} a sweep", sweeps, kills_of_a_search, KILLS_A_SWEEP)
    if "one-place" in chosen:
        one = Sweep(folder / "one-place" / "run", [*SEARCH, *ONE_PLACE]).run()
        title = f"kill -9 of a search of one place, {KILLS_A_SWEEP} a sweep"
        kind("one-place", title, times, kills_of_a_search, KILLS_A_SWEEP, one)
    title = f"SIGTERM in mid-evaluation, {SIGNALS_A_SWEEP} a sweep"
    kind("signal", title, times, kinds.signals_in_evaluation, whole, SIGNALS_A_SWEEP)
    kind("below", "kill -9 of engine, light trial, raylet; secrets", times, kinds.deaths_below_the_driver, whole)
    kind("disk", "disk full", times, kinds.a_full_disk, whole, can=kinds.can_mount())
    kind("memory", "engine out of memory", times, kinds.little_memory, whole, can=kinds.memory_groups() is not None)
    if "elsewhere" in chosen:
        data = write_hostile(folder / "hostile", seed)
        arguments = [*SMALL, "--model", "pocket-gpt2", "--data", str(data), *TRAINING]
        hostile = Sweep(folder / "hostile-whole" / "run", arguments).run()
        kind("elsewhere", "hostile corpus: 2 drivers, clock set back, copied", times, kinds.taken_elsewhere, hostile)
    return tallies


app = command.app(faults)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return command.execute(app, "benchmarks.faults", arguments)


if __name__ == "__main__":
    sys.exit(main())
