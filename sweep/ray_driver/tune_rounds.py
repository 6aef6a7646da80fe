"""Tune over the trials of a launch, in rounds: a later one takes what an earlier one left unfinished."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from search_spaces.points import representatives
from search_spaces.search import from_json
from sweep.ray_driver.engine_statuses import EngineStatuses
from sweep.ray_driver.launch_options import LaunchOptions
from sweep.ray_driver.launch_trials import LaunchTrials
from sweep.ray_driver.search_places import SearchPlaces
from sweep.ray_driver.tune_run import TuneOptions, in_turn, run_tune
from trainables.config import TrainConfig
from trainables.jobs import PACK_WIDTH, EngineSetup, TrialJob
from trainables.records.lineage import release
from trainables.records.record import SweepFolder, TrialRecord

AHEAD_LIVE = 2  # Tune trials an engine that runs ahead: each is a process that costs seconds to start
ROUNDS = 3
BEGIN_S = 2.0  # for an engine to hear of a trial that is on its way to it


def runs_ahead(options: LaunchOptions, trials: LaunchTrials) -> bool:
    """Tell whether engines begin their trials by themselves: nobody judges them, and all are known."""
    return options.scheduler == "none" and trials.study is None


@dataclass
class TuneRounds:
    """What Tune runs the trials of a launch with; `shares` are the trials of each engine."""

    folder: SweepFolder
    trials: LaunchTrials
    options: LaunchOptions
    setup: EngineSetup
    engines: Mapping[str, Any]
    shares: Mapping[str, Sequence[str]]
    statuses: EngineStatuses
    say: Callable[[str], None]
    is_closing: Callable[[], bool]

    def run(self) -> None:
        """Run until no trial is left, or what is left cannot go on."""
        release(self.folder)  # of what a run that was killed kept for others
        left: dict[str, TrialJob] = {}
        for _ in range(ROUNDS):
            before, left = left, self.trials.unfinished()
            is_over = not left and not self.trials.to_come
            if is_over or (left and list(left) == list(before)) or self.is_closing() or self.statuses.paused:
                return
            ahead = runs_ahead(self.options, self.trials)
            keys = in_turn(left, self.shares.values() if ahead else [])
            live = min(self._live(left), len(left) + self.trials.to_come)
            search = self._search_places(left) if self.trials.study is not None else None
            how = TuneOptions(
                tuple(self.engines),
                live,
                self._scheduler(left),
                self.folder.folder / "ray",
                self.options.scheduler == "pbt",
                self._follower_died,
                search,
            )
            run_tune(keys, how)
            self.statuses.drain()  # trials that were stopped by the scheduler are still being evaluated
            if search is not None:
                search.ended()
            release(self.folder)

    def _follower_died(self, key: str) -> None:
        config = TrialRecord(self.folder.trials_folder / key).config()
        self.say(f"{config['label']}: the process that follows it died; a new one does, its training goes on")

    def _scheduler(self, left: Mapping[str, TrialJob]) -> Any:
        # Trials that lack an evaluation alone are trained already: no scheduler judges them again.
        records = {key: TrialRecord(self.folder.trials_folder / key) for key in left}
        judged = {
            key: job.trial.train
            for key, job in left.items()
            if not job.trial.train.is_baseline and records[key].result() is None
        }
        if self.options.scheduler == "pbt":
            from sweep.ray_driver.pbt.scheduler import populations_of

            return populations_of(self.folder.records(), judged)
        from sweep.ray_driver.early_stopping import finished_curves, scheduler_of, stop_in

        stop = partial(stop_in, tuple(self.engines))
        curves = finished_curves(self.folder, set(judged))
        if self.trials.study is None:
            return scheduler_of(self.options.scheduler, judged.values(), judged.__contains__, curves, stop)
        spared = self.trials.jobs.keys() - judged.keys()
        trains = (*judged.values(), *searched(self.folder))
        return scheduler_of(self.options.scheduler, trains, lambda key: key not in spared, curves, stop)

    def _live(self, left: Mapping[str, TrialJob]) -> int:
        """Return how many Tune trials are alive at once: a pack is as full as these, but where engines run ahead."""
        if runs_ahead(self.options, self.trials):
            return AHEAD_LIVE * len(self.engines)
        slots, guests = self._slots, 0
        if self.options.engine == "packed":
            guests = sum(job.trial.train.is_baseline for job in left.values())  # which take no slot
        return self.options.max_concurrent or len(self.engines) * slots + guests + 1

    @property
    def _slots(self) -> int:
        """Return the places of an engine."""
        return (self.setup.pack_width or PACK_WIDTH) if self.options.engine == "packed" else 1

    def _search_places(self, left: Mapping[str, TrialJob]) -> SearchPlaces:
        import ray

        whole = self.options.max_concurrent or self._slots * len(self.engines)
        shares = [min(share_of(whole, number, len(self.engines)), self._slots) for number in range(len(self.engines))]
        has_guests = self.options.engine == "packed" and self.options.max_concurrent is None

        def begin(engine: str, key: str) -> None:
            with contextlib.suppress(Exception):  # dying or restarting: who follows the trial begins it
                ray.get(self.engines[engine].begin.remote(key), timeout=BEGIN_S)

        return SearchPlaces(
            self.trials,
            dict(zip(self.engines, shares, strict=True)),
            self.engines,
            list(left),
            lambda key: has_guests and self.trials.jobs[key].trial.train.is_baseline,
            begin,
            lambda: {run.key for run in self.statuses.running},
            lambda: not self.is_closing() and self.statuses.paused is None,
            self.statuses.pause,
        )


def searched(folder: SweepFolder) -> list[TrainConfig]:
    """Return configurations in which every choice and both ends of every range of a sweep's search occur."""
    kept = folder.manifest().search
    return representatives(from_json(kept)) if kept else []


def share_of(whole: int, number: int, count: int) -> int:
    """Return part `number` of a whole that is dealt out to `count`."""
    return whole // count + (number < whole % count)
