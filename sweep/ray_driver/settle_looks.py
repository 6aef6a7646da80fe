"""The looks of a race on the engines that are there, packed and without Tune: nobody judges an evaluation by steps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.ray_driver.engine_statuses import EngineStatuses
from sweep.ray_driver.pack_order import spread_jobs
from sweep.settle.next_step import SettleStep, next_step, told
from sweep.settle.replicates import begin
from sweep.settle.sentences import look_sentences, replicate_sentence
from sweep.settle.settle_plan import SettlePlan
from trainables.jobs import TrialJob
from trainables.records.finished import is_finished
from trainables.records.record import SweepFolder

TRIES = 3  # of an evaluation that leaves nothing behind
PATIENCE_S = 20.0  # for an engine whose process died to be there again
PAUSE_S = 0.5


@dataclass
class SettleLooks:
    """A race over the trained trials of a sweep; `engines` loses those that are gone for good."""

    race: SettlePlan
    folder: SweepFolder
    engines: Mapping[str, Any]
    speed_of: Callable[[str], float]
    statuses: EngineStatuses
    say: Callable[[str], None]
    is_closing: Callable[[], bool]
    _given_up: set[str] = field(default_factory=set)
    _looks_told: int = 0

    def run(self) -> None:
        """Evaluate look by look until the race is over or the launch is closing."""
        while not self._is_ending:
            step = next_step(self.race, self.folder, self._given_up)
            self.folder.write_manifest(told(self.folder.manifest(), self.race, step))
            self._tell(step)
            if step.is_over:
                return
            begin(self.folder, step.new)
            self._evaluate(step)

    @property
    def _is_ending(self) -> bool:
        return self.is_closing() or self.statuses.paused is not None or not self.engines

    def _tell(self, step: SettleStep) -> None:
        looks = step.race.looks if step.race is not None else ()
        for sentence in look_sentences(looks)[self._looks_told :]:
            self.say(sentence)
        self._looks_told = len(looks)
        if step.new:
            self.say(replicate_sentence(step.new))

    def _evaluate(self, step: SettleStep) -> None:
        """Evaluate what a step asks for; trials whose evaluation fails are out of the race of this launch."""
        left = {Path(job.folder).name: job for job in step.jobs}
        tries, since = 0, time.monotonic()
        while left and not self._is_ending:
            self._send(list(left.values()))
            self.statuses.drain()
            still = {key: job for key, job in left.items() if not is_finished(job)}
            if len(still) < len(left):
                tries, since = 0, time.monotonic()
            elif tries >= TRIES and time.monotonic() - since > PATIENCE_S:
                self._given_up |= still.keys()
                self.say(f"could not be evaluated and leave the race: {', '.join(still)} (error.txt says why)")
                return
            else:
                tries += 1
                time.sleep(PAUSE_S)
            left = still

    def _send(self, jobs: Sequence[TrialJob]) -> None:
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        engines = dict(self.engines)
        shares = spread_jobs(jobs, [self.speed_of(name) for name in engines])
        for engine, share in zip(engines.values(), shares, strict=True):
            asked = {Path(job.folder).name: job for job in share}
            with contextlib.suppress(*engine_gone()):  # its new process is asked in the next round
                ray.get(engine.run_again.remote(asked))
