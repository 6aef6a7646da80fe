"""What runs beside the main thread of a launch: Ray, its engines, and Tune over the trials that are left."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from sweep.engine_actor.actor import EngineHost, EnginePlan, LeaseHolder
from sweep.environment.lease import Lease, LeaseLost, this_process
from sweep.environment.shared_folder import FolderProbe
from sweep.monitor.engine_status import Prepared, Unprepared
from sweep.ray_driver.cluster import Cluster
from sweep.ray_driver.engine_startup import DiedTwice, EngineStartup
from sweep.ray_driver.engine_statuses import EngineStatuses
from sweep.ray_driver.launch_log import LaunchTiming
from sweep.ray_driver.launch_options import LaunchOptions
from sweep.ray_driver.node_failure import NodeWatcher, lost_path
from sweep.ray_driver.pack_order import by_pack, sentence, spread_jobs
from sweep.ray_driver.placement import EnginePlace, cluster_nodes, cores, here, placement_sentences, places
from sweep.ray_driver.tune_run import TuneOptions, begin_import, in_turn, run_tune
from sweep.ray_driver.worker_logs import in_short, lines_of
from trainables.config import TrainConfig
from trainables.errors import UserError
from trainables.jobs import PACK_WIDTH, EngineSetup, TrialJob
from trainables.records import atomic_files
from trainables.records.finished import is_finished
from trainables.records.lineage import release
from trainables.records.record import SweepFolder, TrialRecord
from trainables.startup_progress import Stage, current, stage

AHEAD_LIVE = 2  # Tune trials an engine that runs ahead: each is a process that costs seconds to start
SOLO_MAY = "; --engine solo, Hugging Face's own trainer, may take what this one cannot"
ROUNDS = 3  # of Tune; a later one takes what an earlier one left unfinished
ENGINE_START_S = 180.0  # for the engines of a cluster to answer for the first time


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
        self.jobs = {Path(job.folder).name: job for job in by_pack(jobs)}
        self.setup = setup
        if options.scheduler == "pbt":
            # Its trials train side by side, each in a slot; how many share a batch is the engine's affair.
            self.setup = replace(setup, pack_width=max(setup.pack_width or PACK_WIDTH, len(self.jobs)))
        self.options = options
        self.cluster = Cluster(options.address)
        self.error: BaseException | None = None
        self._engines: dict[str, Any] = {}
        self._places: dict[str, EnginePlace] = {}
        self._shares: dict[str, tuple[str, ...]] = {}  # trials of each engine
        self.news: list[str] = []  # sentences for the display
        self.statuses = EngineStatuses(self._engines, self.news.append, self._last_words)
        self.timing = LaunchTiming()
        self._closing = False
        self._ended = threading.Event()
        self._wake = wake
        self._threads: list[threading.Thread] = []
        self._engines_began = 0.0
        self._losses: NodeWatcher | None = None  # of a cluster that was joined

    def start(self) -> None:
        self._begin(self._work, "tune")

    def _begin(self, work: Callable[..., None], name: str, *arguments: Any) -> None:
        thread = threading.Thread(target=work, name=name, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    def is_in_ray(self, patience_s: float) -> bool:
        """Tell whether after so long a thread of this session still waits in Ray."""
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return any(thread.is_alive() for thread in self._threads)

    @property
    def has_engines(self) -> bool:
        return bool(self._engines)

    @property
    def engine_count(self) -> int:
        return len(self._engines)

    def stage(self) -> Stage | None:
        """Return what is being waited for before trials can go on."""
        if not self._engines or self.statuses.has_answered:
            return next(iter(self.statuses.stages), current())
        return Stage("starting an engine's process", 0, None, time.monotonic() - self._engines_began)

    def unfinished(self) -> dict[str, TrialJob]:
        """Return the trials that lack a result or their evaluation."""
        return {key: job for key, job in self.jobs.items() if not is_finished(job)}

    @property
    def headline(self) -> str:
        """Say which device and engine is used."""
        if self.setup.device == "cpu":
            device = f"CPU ({cores()} cores)" if self.options.address is None else "the CPUs of a Ray cluster"
        else:
            device = (
                "GPU" if self.options.engines_per_gpu == 1 else f"GPU ({self.options.engines_per_gpu} engines each)"
            )
        packs = sentence(job.trial.train for job in self.jobs.values()) if self.options.engine == "packed" else None
        line = f"{len(self.jobs)} trials on {device}, engine {self.options.engine.rsplit(':', 1)[-1]}"
        return f"{line}\n{packs}" if packs else line

    # --- the thread of Tune --------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if self.unfinished():
                self._run()
            else:
                release(self.folder)  # of what a run that was killed kept for others
        except BaseException as error:
            self._fail(error)
        self._end()

    def _run(self) -> None:
        with stage("starting Ray"):
            self.cluster.start(self.setup.device)
        self.timing.reached("ray")
        tune = begin_import()
        self._start_engines()
        tune.join()
        self._fit()
        self.timing.reached("over")

    def _fail(self, error: BaseException) -> None:
        if self.error is None and not self._closing:
            self.error = error

    def _end(self) -> None:
        self._ended.set()
        self._wake.set()

    def _start_engines(self) -> None:
        import ray

        from sweep.ray_driver.tune_trial import NAMESPACE

        self._engines_began = time.monotonic()
        placed = self._place_engines()
        if self._runs_ahead:
            placed = placed[: self.options.max_concurrent]
        holder = LeaseHolder(str(self.lease.folder), self.lease.owner, self.lease.generation, this_process())
        options = self.options
        actor = ray.remote(EngineHost)
        for number, (place, share) in enumerate(zip(placed, self._spread(placed), strict=True)):
            name, setup = f"engine-{self.lease.owner}-{number}", replace(self.setup, sharing=self._sharing(placed))
            if setup.device == "cpu" and setup.threads is None:
                setup = replace(setup, threads=place.cores)
            plan = EnginePlan(
                options.engine,
                setup,
                self.jobs,
                holder,
                lockstep=not self._runs_ahead,
                ordered=len(placed) == 1,
                ahead=share if self._runs_ahead else (),
                early=self._begins_early and len(placed) == 1,
                mine=share,
                at_most=_share(options.max_concurrent, number, len(placed)) if self._runs_ahead else None,
                deaths=str(self.folder.folder / "ray" / f"engine-{number}.json"),
                lost=str(lost_path(self.folder.folder, name)) if options.address is not None else None,
            )
            self._places[name], self._shares[name] = place, share
            self._engines[name] = actor.options(
                name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=3 * len(self.jobs) + 3, **place.options
            ).remote(plan)
        if options.address is not None:
            self._check_folders()
        self._begin(self._open, "open")
        if options.address is not None:
            self._begin(self._watch_nodes, "nodes")

    def _place_engines(self) -> list[EnginePlace]:
        device, options = self.setup.device, self.options
        if device == "cpu" and options.address is None:
            return here(max(1, min(options.engines or 1, len(self.jobs))))
        nodes = cluster_nodes()
        placed = places(nodes, device, len(self.jobs), options.engines_per_gpu)
        if options.address is not None:
            self.news += placement_sentences(placed, nodes, device)
        return placed

    def _sharing(self, placed: list[EnginePlace]) -> int:
        """Return how many engines share a device: those of this machine, where it is its CPU."""
        if self.setup.device != "cpu":
            return self.options.engines_per_gpu
        return len(placed) if self.options.address is None else 1

    def _spread(self, placed: list[EnginePlace]) -> list[tuple[str, ...]]:
        """Return the trials of each engine: more for a faster one, in whole packs where that costs little."""
        shares = spread_jobs(self.jobs.values(), [place.speed for place in placed])
        return [tuple(Path(job.folder).name for job in share) for share in shares]

    def _watch_nodes(self) -> None:
        folder, say = self.folder.folder, self.news.append
        self._losses = NodeWatcher(folder, self._engines, self._places, self._shares, self.unfinished, say)
        self._losses.watch(self._ended)

    def loss(self) -> str | None:
        """Say what of Ray is gone, so that nothing can go on; None while all of it is there."""
        return self.cluster.loss() or (self._losses.end if self._losses is not None else None)

    def _check_folders(self) -> None:
        """Raise UserError unless every node sees the sweep's folder and the models, as this one does."""
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        probe = FolderProbe(str(self.folder.folder), self.lease.owner, tuple(self.setup.model_folders.values()))
        probe.leave()
        try:
            asked = {name: engine.answer.remote(probe, name) for name, engine in self._engines.items()}
            _, late = ray.wait(list(asked.values()), num_returns=len(asked), timeout=ENGINE_START_S)
            names = [self._places[name].node.name for name, ref in asked.items() if ref in late]
            if names:
                raise UserError(
                    f"no engine has started on {', '.join(names)} within {ENGINE_START_S:.0f} s; "
                    "others may be using its devices (ray status tells)"
                )
            answers = {name: (self._places[name].node.name, ray.get(ref)) for name, ref in asked.items()}
            complaint = probe.complaint(answers)
        except engine_gone() as error:
            cause = self._keep_traceback("its process died, or the project is not installed there", str(error))
            raise UserError(cause) from None
        finally:
            probe.remove()
        if complaint:
            raise UserError(complaint)

    def _open(self) -> None:
        """Let the trials have slots once every engine is ready and the first one has passed the preflight."""
        import ray

        from sweep.ray_driver.tune_trial import engine_gone

        try:
            answers = self._prepared()
            prepared = [answer for answer in answers if isinstance(answer, Prepared)]
            for answer in answers:
                if isinstance(answer, Unprepared):
                    self._refuse(answer)
            self.folder.engine_error_path.unlink(missing_ok=True)
            self.news += dict.fromkeys(line for answer in prepared for line in answer.said)
            self.statuses.is_open = True
            with contextlib.suppress(*engine_gone()):  # a new process is opened when it is first seen
                ray.get([engine.open.remote() for engine in self._engines.values()])
            self.timing.reached("open")
        except BaseException as error:
            self._fail(error)
            self._end()

    def _refuse(self, engine: Unprepared) -> NoReturn:
        """Raise UserError with why an engine cannot start."""
        if engine.traceback is None:
            raise UserError(engine.cause)
        complaint = self._keep_traceback(engine.cause, engine.traceback)
        raise UserError(complaint + (SOLO_MAY if self.options.engine == "packed" else ""))

    def _prepared(self) -> list[Prepared | Unprepared]:
        """Return what the engines say of their preparation; raises UserError where one died of it twice."""
        trials = {name: [self.jobs[key].trial for key in share] for name, share in self._shares.items()}
        wanted = EngineStartup(self._engines, trials, self.options.preflight, self.statuses.seen)
        try:
            return wanted.answers(self._lines_of)
        except DiedTwice as error:
            raise UserError(self._keep_traceback(str(error), error.lines)) from None

    def _lines_of(self, pid: int) -> list[str]:
        return lines_of(self.cluster.folder, pid)

    def _last_words(self, pid: int) -> str:
        return in_short(self._lines_of(pid))

    def _keep_traceback(self, cause: str, traceback: str) -> str:
        """Write why the engine cannot start to the sweep's folder; return it as one sentence."""
        path = self.folder.engine_error_path
        with contextlib.suppress(OSError, LeaseLost):
            if not self._closing:  # else it ends because it was told to
                self.lease.fence()
                atomic_files.write_text(path, f"{cause}\n\n{traceback}")
        return f"the engine could not start: {cause.strip().splitlines()[0]} (the whole of it is in {path})"

    def _fit(self) -> None:
        release(self.folder)  # of what a run that was killed kept for others
        left: dict[str, TrialJob] = {}
        for _ in range(ROUNDS):
            before, left = left, self.unfinished()
            if not left or list(left) == list(before) or self._closing or self.statuses.paused:
                return
            # Trials that lack an evaluation alone are trained already: no scheduler judges them again.
            records = {key: TrialRecord(Path(job.folder)) for key, job in left.items()}
            judged = {
                key: job.trial.train
                for key, job in left.items()
                if not job.trial.train.is_baseline and records[key].result() is None
            }
            scheduler, live = self._scheduler(judged), min(self._live(left), len(left))
            in_populations = self.options.scheduler == "pbt"
            keys = in_turn(left, self._shares.values() if self._runs_ahead else [])
            storage = self.folder.folder / "ray"
            run_tune(
                keys, TuneOptions(tuple(self._engines), live, scheduler, storage, in_populations, self._follower_died)
            )
            self.statuses.drain()  # trials that were stopped by the scheduler are still being evaluated
            release(self.folder)

    def _follower_died(self, key: str) -> None:
        config = TrialRecord(Path(self.jobs[key].folder)).config()
        self.news.append(f"{config['label']}: the process that follows it died; a new one does, its training goes on")

    def _scheduler(self, judged: dict[str, TrainConfig]) -> Any:
        if self.options.scheduler == "pbt":
            from sweep.ray_driver.pbt.scheduler import populations_of

            return populations_of(self.folder.records(), judged)
        from sweep.ray_driver.early_stopping import finished_curves, scheduler_of, stop_in

        stop = partial(stop_in, tuple(self._engines))
        return scheduler_of(self.options.scheduler, judged, finished_curves(self.folder, set(judged)), stop)

    @property
    def _runs_ahead(self) -> bool:
        return self.options.scheduler == "none"

    @property
    def _begins_early(self) -> bool:
        """Tell whether Tune's trials surely come in the order of the plan, as many as there are slots."""
        return self.options.scheduler in ("asha", "median") and self.options.max_concurrent is None

    def _live(self, left: dict[str, TrialJob]) -> int:
        """Return how many Tune trials are alive at once: a pack is as full as these, but where engines run ahead."""
        if self._runs_ahead:
            return AHEAD_LIVE * len(self._engines)
        slots, guests = 1, 0
        if self.options.engine == "packed":
            slots = self.setup.pack_width or PACK_WIDTH
            guests = sum(job.trial.train.is_baseline for job in left.values())  # which take no slot
        return self.options.max_concurrent or len(self._engines) * slots + guests + 1

    # --- for the main thread -------------------------------------------------------------------------------------

    def interrupt(self, patience_s: float) -> None:
        """Have the engines write checkpoints and leave their trials, waiting no longer than this."""
        self._closing = self.statuses.is_closing = True
        if not self._engines:
            return
        import ray

        with contextlib.suppress(Exception):  # Ray may be going as well: what is in checkpoints is there
            refs = [engine.interrupt.remote() for engine in self._engines.values()]
            ray.wait(refs, num_returns=len(refs), timeout=patience_s)


def _share(whole: int | None, number: int, count: int) -> int | None:
    """Return part `number` of a whole that is dealt out to `count`."""
    return None if whole is None else whole // count + (number < whole % count)
