"""What runs beside the main thread of a launch: Ray, its engines, and Tune over the trials that are left."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
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
from sweep.ray_driver.launch_trials import LaunchTrials
from sweep.ray_driver.node_failure import NodeWatcher, lost_path
from sweep.ray_driver.pack_order import of_bases, sentence, spread_jobs
from sweep.ray_driver.placement import EnginePlace, cluster_nodes, cores, here, placement_sentences, places
from sweep.ray_driver.settle_looks import SettleLooks
from sweep.ray_driver.tune_rounds import TuneRounds, runs_ahead, searched, share_of
from sweep.ray_driver.tune_run import begin_import
from sweep.ray_driver.worker_logs import in_short, lines_of
from sweep.settle.settle_plan import SettlePlan
from trainables.errors import UserError
from trainables.jobs import PACK_WIDTH, EngineSetup
from trainables.records import atomic_files
from trainables.records.lineage import release
from trainables.records.record import SweepFolder
from trainables.startup_progress import Stage, current, stage

SOLO_MAY = "; --engine solo, Hugging Face's own trainer, may take what this one cannot"
ENGINE_START_S = 180.0  # for the engines of a cluster to answer for the first time


class Session:
    """What runs beside the main thread: the cluster, its engines and Tune."""

    def __init__(
        self,
        folder: SweepFolder,
        lease: Lease,
        trials: LaunchTrials,
        setup: EngineSetup,
        options: LaunchOptions,
        wake: threading.Event,
        race: SettlePlan | None = None,
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.trials = trials
        self.setup = setup
        if options.scheduler == "pbt":
            # Its trials train side by side, each in a slot; how many share a batch is the engine's affair.
            self.setup = replace(setup, pack_width=max(setup.pack_width or PACK_WIDTH, trials.total))
        self.options = options
        self.race = race
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

    @property
    def headline(self) -> str:
        """Say which device and engine is used."""
        if self.setup.device == "cpu":
            device = f"CPU ({cores()} cores)" if self.options.address is None else "the CPUs of a Ray cluster"
        else:
            device = (
                "GPU" if self.options.engines_per_gpu == 1 else f"GPU ({self.options.engines_per_gpu} engines each)"
            )
        packs = None
        if self.options.engine == "packed" and self.trials.study is not None:
            packs = of_bases(searched(self.folder))
        elif self.options.engine == "packed":
            packs = sentence(job.trial.train for job in self.trials.jobs.values())
        line = f"{self.trials.total} trials on {device}, engine {self.options.engine.rsplit(':', 1)[-1]}"
        return f"{line}\n{packs}" if packs else line

    # --- the thread of Tune --------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            if self.trials.unfinished() or self.trials.ask() is not None:
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

    def _fit(self) -> None:
        """Run Tune over the trials that are left."""
        TuneRounds(
            self.folder,
            self.trials,
            self.options,
            self.setup,
            self._engines,
            self._shares,
            self.statuses,
            self.news.append,
            lambda: self._closing,
        ).run()
        if self.race is not None and not self.trials.unfinished():
            SettleLooks(
                self.race,
                self.folder,
                self._engines,
                lambda name: self._places[name].speed,
                self.statuses,
                self.news.append,
                lambda: self._closing,
            ).run()

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
        options, most = self.options, self.options.max_concurrent
        actor = ray.remote(EngineHost)
        for number, (place, share) in enumerate(zip(placed, self._spread(placed), strict=True)):
            name, setup = f"engine-{self.lease.owner}-{number}", replace(self.setup, sharing=self._sharing(placed))
            if setup.device == "cpu" and setup.threads is None:
                setup = replace(setup, threads=place.cores)
            plan = EnginePlan(
                options.engine,
                setup,
                self.trials.jobs,
                holder,
                lockstep=options.scheduler != "none",
                ordered=len(placed) == 1 and self.trials.study is None,
                ahead=share if self._runs_ahead else (),
                early=self._begins_early and len(placed) == 1,
                mine=share if self.trials.study is None else (),
                at_most=share_of(most, number, len(placed)) if most and self._runs_ahead else None,
                deaths=str(self.folder.folder / "ray" / f"engine-{number}.json"),
                lost=str(lost_path(self.folder.folder, name)) if options.address is not None else None,
                evaluation=self.trials.evaluation,
                to_come=math.ceil(self.trials.to_come / len(placed)),
            )
            self._places[name], self._shares[name] = place, share
            self._engines[name] = actor.options(
                name=name, namespace=NAMESPACE, num_cpus=0, max_restarts=3 * self.trials.total + 3, **place.options
            ).remote(plan)
        if options.address is not None:
            self._check_folders()
        self._begin(self._open, "open")
        if options.address is not None:
            self._begin(self._watch_nodes, "nodes")

    def _place_engines(self) -> list[EnginePlace]:
        device, options = self.setup.device, self.options
        if device == "cpu" and options.address is None:
            return here(max(1, min(options.engines or 1, self.trials.total)))
        nodes = cluster_nodes()
        placed = places(nodes, device, self.trials.total, options.engines_per_gpu)
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
        shares = spread_jobs(self.trials.jobs.values(), [place.speed for place in placed])
        return [tuple(Path(job.folder).name for job in share) for share in shares]

    def _watch_nodes(self) -> None:
        folder, say = self.folder.folder, self.news.append
        self._losses = NodeWatcher(folder, self._engines, self._places, self._shares, self.trials.unfinished, say)
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
        jobs = self.trials.jobs
        trials = {name: [jobs[key].trial for key in share] for name, share in self._shares.items()}
        if self.trials.study is not None:  # no engine's share is known before, nor what all of it is like
            known = [*(job.trial for job in jobs.values()), *self.setup.trials]
            trials = {name: [*own, *known] for name, own in trials.items()}
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

    @property
    def _runs_ahead(self) -> bool:
        return runs_ahead(self.options, self.trials)

    @property
    def _begins_early(self) -> bool:
        """Tell whether Tune's trials surely come in the order of the plan, as many as there are slots."""
        judged = self.options.scheduler in ("asha", "median")
        return (judged or self.trials.study is not None) and self.options.max_concurrent is None

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
