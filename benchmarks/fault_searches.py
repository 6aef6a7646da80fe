"""Searches that are struck by kill -9: the study of each has to end whole, and no point may be tried twice.

Several places at a time try other points after a kill than without one, since what is known when a point is chosen
differs; with one place the points are the same.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from pathlib import Path

from benchmarks.fault_sweep import BUNDLED, SMALL_TASK, NotAsUndisturbed, Sweep, compare, still_there
from sweep.study.end_running import LOCKED_S, connect
from trainables.records.record import SweepFolder

TRIALS = 6
SEARCH = (
    *(*SMALL_TASK, *BUNDLED, "--search", "tpe", "--trials", str(TRIALS)),
    *("learning_rate=log:1e-3..2e-2", "lora_rank=2,4,8", "max_steps=24"),
    *("--max-concurrent", "2"),  # where all points have places at once, none is chosen after a kill
)
ONE_PLACE = ("--max-concurrent", "1")
WATCH_S = 15.0  # for engines to see that their driver is dead, and to end what runs in the study


def kills_of_a_search(folder: Path, chance: random.Random, kills: int, whole: Sweep | None = None) -> str:
    """kill -9 of a search, so many times; with a `whole` one of one place, the same points are tried as there."""
    arguments = [*SEARCH, *ONE_PLACE] if whole else SEARCH
    sweep, struck = Sweep(folder / "run", arguments), 0
    finished: dict[Path, bytes] = {}
    for number in range(kills):
        sweep.start()
        # In training, in an evaluation, or soon after a point was chosen.
        trains = number % 3 != 1
        if not (sweep.train_on(chance, 1, 24) if trains else _wait_for_point(sweep, chance)):
            break
        sweep.kill()
        struck += 1
        if trains:  # else there may be no engine yet, and the next command does it
            _wait_for_engines(sweep.out)
        still_there(sweep, finished)
        finished = sweep.results()
    sweep.run()
    still_there(sweep, finished)
    check_study(sweep.out)
    losses = f", losses within {compare(sweep, whole):.1e}" if whole else ""
    return f"{struck} kills, {len(finished)} trials finished before the last one{losses}"


def _wait_for_engines(out: Path) -> None:
    """Wait until no trial of a killed search is running in its study."""
    until = time.monotonic() + WATCH_S
    while states_of(out)["RUNNING"]:
        if time.monotonic() > until:
            raise NotAsUndisturbed(f"{WATCH_S:.0f} s after the kill the study has {dict(states_of(out))}")
        time.sleep(0.1)


def _wait_for_point(sweep: Sweep, chance: random.Random) -> bool:
    """Wait until a further point has been chosen, and a seeded moment longer; False where the command ended before."""
    before = len(sweep.records())
    if not sweep.wait_for(lambda: len(sweep.records()) > before):
        return False
    time.sleep(chance.uniform(0.0, 1.0))
    return sweep.process is not None and sweep.process.poll() is None


def check_study(out: Path) -> None:
    """Raise NotAsUndisturbed unless a finished search has all its points, each once, and a study that says so."""
    states = states_of(out)
    if set(states) - {"COMPLETE", "PRUNED", "FAIL"} or states.total() != TRIALS:
        raise NotAsUndisturbed(f"a study of {dict(states)} in place of {TRIALS} ended trials")
    configs = [record.config() for record in SweepFolder(out).records()]
    points = [config["train_id"] for config in configs if config["kind"] != "baseline"]
    if sorted(points) != sorted(set(points)) or len(points) != TRIALS:
        raise NotAsUndisturbed(f"{len(points)} points, {len(set(points))} of them different, in place of {TRIALS}")
    if sorted(points) != sorted(told_of(out)):
        raise NotAsUndisturbed(f"a study of {sorted(told_of(out))} over records of {sorted(points)}")


def states_of(out: Path) -> Counter[str]:
    """Return how many trials of a study are in each state, none where there is no study."""
    return Counter(str(row[0]) for row in _rows(out, "SELECT state FROM trials"))


def told_of(out: Path) -> list[str]:
    """Return the train_id of every trial of a study."""
    query = "SELECT value_json FROM trial_user_attributes WHERE key = 'train_id'"
    return [json.loads(row[0]) for row in _rows(out, query)]


def _rows(out: Path, query: str) -> list[tuple[str]]:
    path = SweepFolder(out).study_path
    if not path.exists():
        return []
    with contextlib.closing(connect(path, LOCKED_S)) as connection:
        return connection.execute(query).fetchall()
