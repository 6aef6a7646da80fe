"""What runs beside the main thread of a launch: Ray, its engines, and Tune over the trials that are left."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sweep.cluster import Cluster
from sweep.engine import EngineHost, Holder, Plan
from sweep.lease import Lease, LeaseLost, this_process
from sweep.reading import is_finished
from sweep.slots import write_failure
from trainables import files
from trainables.errors import UserError
from trainables.jobs import PACK_WIDTH, EngineSetup, TrialJob
from trainables.record import SweepFolder, TrialRecord

ROUNDS = 3  # of Tune; a later one takes what an earlier one left unfinished


@dataclass(frozen=True)
class LaunchOptions:
    """How to run a launch; nothing here changes a result, except `scheduler`, which ends trials early."""

    max_concurrent: int | None = None  # live Tune trials; None: one more than there are slots
    scheduler: Literal["none", "asha", "median"] = "none"
    time_budget_s: float | None = None
    engine: str = "solo"
    engines: int | None = None  # on the CPU, which they share; None: 1
    engines_per_gpu: int = 1
    address: str | None = None  # of a Ray cluster to join; None: one of our own, on the loopback interface
    preflight: bool = True
    quiet: bool = False
    command: str | None = None  # that continues; None: the sweep's own


class Session:
    """What runs beside the main thread: the cluster, its engines and Tune."""

    def __init__(
        self,
        folder: SweepFolder,
        lease: Lease,
        jobs: list[TrialJob],
        setup: EngineSetup,
        options: LaunchOptions,
        wake: threading.Event,
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.jobs = {Path(job.folder).name: job for job in jobs}
        self.setup = setup
        self.options = options
        self.cluster = Cluster(options.address)
        self.error: BaseException | None = None
        self.facts: dict[str, Any] | None = None
        self._engines: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._statuses: dict[str, dict[str, Any]] = {}
        self.paused: str | None = None  # why the engines can go on with no trial
        self._closing = False
        self._ended = threading.Event()
        self._wake = wake

    def start(self) -> None:
        threading.Thread(target=self._work, name="tune", daemon=True).start()

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    @property
    def has_engines(self) -> bool:
        return bool(self._engines)

    def _keep(self, name: str, status: dict[str, Any]) -> None:
        # An engine that has paused stays so: an answer that was asked for earlier may come later.
        self.paused = self.paused or status["paused"]
        self._statuses[name] = status

    def unfinished(self) -> dict[str, TrialJob]:
        """Return the trials that lack a result or their evaluation."""
        return {key: job for key, job in self.jobs.items() if not is_finished(job)}

    @property
    def headline(self) -> str:
        """Say which device and engine is used."""
        if self.setup.device == "cpu":
            device = f"CPU ({cores()} cores)"
        else:
            device = (
                "GPU" if self.options.engines_per_gpu == 1 else f"GPU ({self.options.engines_per_gpu} engines each)"
            )
        return f"{len(self.jobs)} trials on {device}, engine {self.options.engine.rsplit(':', 1)[-1]}"

    # --- the thread of Tune --------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self.cluster.start(self.setup.device)
            self._start_engines()
            self._fit()
        except BaseException as error:
            self._fail(error)
        self._end()

    def _fail(self, error: BaseException) -> None:
        if self.error is None and not self._closing:
            self.error = error

    def _end(self) -> None:
        self._ended.set()
        self._wake.set()

    def _start_engines(self) -> None:
        import ray

        from sweep.trial import NAMESPACE

        count, resources = self._count_engines()
        setup = self.setup
        if setup.device == "cpu" and setup.threads is None:
            setup = replace(setup, threads=max(1, cores() // count))
        holder = Holder(str(self.lease.folder), self.lease.owner, self.lease.generation, this_process())
        options = self.options
        plan = Plan(options.engine, setup, self.jobs, holder, options.scheduler != "none", ordered=count == 1)
        actor = ray.remote(EngineHost)
        for number in range(count):
            name = f"engine-{self.lease.owner}-{number}"
            self._engines[name] = actor.options(
                name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=3 * len(self.jobs) + 3, **resources
            ).remote(plan)
        if options.address is not None:
            self._check_shared_folder()
        trials = [job.trial for job in self.jobs.values()]
        prepared = [
            engine.prepare.remote(trials, options.preflight and number == 0)
            for number, engine in enumerate(self._engines.values())
        ]
        threading.Thread(target=self._open, args=(prepared,), name="open", daemon=True).start()

    def _count_engines(self) -> tuple[int, dict[str, float]]:
        if self.setup.device == "cpu":
            return max(1, min(self.options.engines or 1, len(self.jobs))), {}
        gpus = self.cluster.gpus()
        if gpus == 0:
            raise UserError("a GPU was asked for and Ray finds none; give --device cpu to run on the CPU")
        per_gpu = self.options.engines_per_gpu
        return min(gpus * per_gpu, len(self.jobs)), {"num_gpus": 1 / per_gpu}

    def _check_shared_folder(self) -> None:
        import ray

        seen = ray.get([engine.sees.remote(str(self.folder.sweep_path)) for engine in self._engines.values()])
        if not all(seen):
            raise UserError(
                f"{self.folder.folder} is not visible on every machine of the cluster; mount the same folder at the "
                "same path on all of them, or give --out a folder that is shared"
            )

    def _open(self, prepared: list[Any]) -> None:
        """Let the trials have slots once every engine is ready and the first one has passed the preflight."""
        import ray

        try:
            answers = ray.get(prepared)
            for answer in answers:
                if "user_error" in answer:
                    raise UserError(answer["user_error"])
                if "error" in answer:
                    raise UserError(self._keep_traceback(answer["error"], answer["traceback"]))
            self.folder.engine_error_path.unlink(missing_ok=True)
            self.facts = answers[0]["facts"]
            ray.get([engine.open.remote() for engine in self._engines.values()])
        except ray.exceptions.RayActorError as error:
            self._fail(UserError(self._keep_traceback("its process died while it was loading the model", str(error))))
            self._end()
        except BaseException as error:
            self._fail(error)
            self._end()

    def _keep_traceback(self, cause: str, traceback: str) -> str:
        """Write why the engine cannot start to the sweep's folder; return it as one sentence."""
        path = self.folder.engine_error_path
        with contextlib.suppress(OSError, LeaseLost):
            if not self._closing:  # else it ends because it was told to
                self.lease.fence()
                files.write_text(path, f"{cause}\n\n{traceback}")
        return f"the engine could not start: {cause.strip().splitlines()[0]} (the whole of it is in {path})"

    def _fit(self) -> None:
        from sweep.schedule import scheduler_of
        from sweep.tuning import Fit, fit

        left: dict[str, TrialJob] = {}
        for _ in range(ROUNDS):
            before, left = left, self.unfinished()
            if not left or list(left) == list(before) or self._closing or self.paused:
                return
            # Trials that lack an evaluation alone are trained already: no scheduler judges them again.
            records = {key: TrialRecord(Path(job.folder)) for key, job in left.items()}
            judged = {
                key: job.trial.train
                for key, job in left.items()
                if not job.trial.train.is_baseline and records[key].result() is None
            }
            scheduler = scheduler_of(self.options.scheduler, judged, self._finished_curves(set(judged)))
            slots = (self.setup.pack_width or PACK_WIDTH) if self.options.engine == "packed" else 1
            live = self.options.max_concurrent or len(self._engines) * slots + 1
            how = Fit(tuple(self._engines), min(live, len(left)), scheduler, self.folder.folder / "ray")
            gave_up = fit(list(left), how)
            self._drain()
            for key, cause in gave_up.items():
                record = TrialRecord(Path(self.jobs[key].folder), self.lease.fence)
                write_failure(record, cause, "", self.options.engine)

    def _finished_curves(self, judged: set[str]) -> list[tuple[str, list[dict[str, Any]]]]:
        curves = []
        for record in self.folder.records():
            if record.folder.name not in judged and record.result_path.exists():
                rows = [row for row in record.metrics() if row["kind"] == "eval"]
                if rows and record.config()["kind"] != "baseline":
                    curves.append((record.folder.name, rows))
        return curves

    def _drain(self) -> None:
        """Wait for trials that were stopped by the scheduler and are still being evaluated."""
        import ray

        while not self._closing:
            try:
                statuses = ray.get([engine.status.remote() for engine in self._engines.values()])
            except ray.exceptions.RayActorError:
                return  # died, and with it what it ran: the next round continues that
            for name, status in zip(self._engines, statuses, strict=True):
                self._keep(name, status)
            if not any(status["runs"] for status in statuses):
                return
            time.sleep(0.1)

    # --- for the main thread -------------------------------------------------------------------------------------

    def running(self) -> list[dict[str, Any]]:
        """Return what runs in the engines, as of their last answer; never waits."""
        import ray

        for name, engine in list(self._engines.items()):
            try:
                ref = self._asked.get(name)
                if ref is None:
                    self._asked[name] = engine.status.remote()
                elif ray.wait([ref], timeout=0)[0]:
                    self._keep(name, ray.get(ref))
                    self._asked[name] = engine.status.remote()
            except Exception:  # dying or restarting: it runs nothing
                self._asked.pop(name, None)
                self._statuses.pop(name, None)
        return [run for status in self._statuses.values() for run in status["runs"]]

    def interrupt(self, patience_s: float) -> None:
        """Have the engines write checkpoints and leave their trials, waiting no longer than this."""
        self._closing = True
        if not self._engines:
            return
        import ray

        refs = [engine.interrupt.remote() for engine in self._engines.values()]
        ray.wait(refs, num_returns=len(refs), timeout=patience_s)


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
