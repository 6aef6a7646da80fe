"""Ray's processes: quiet, on the loopback interface, in the system's temporary folder, and gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweep.environment.ray_variables import HiddenSecrets
from sweep.ray_driver import session_folder
from sweep.ray_driver.ray_processes import CoreProcesses, left_behind
from trainables.errors import UserError
from trainables.secret_variables import PASS_ENV

ROOT = Path(__file__).resolve().parents[2]

# Read by Ray's processes when they start and by Tune when it is imported.
QUIET = {
    "MALLOC_ARENA_MAX": "1",  # glibc would keep apart what each thread of an engine has freed: 2 GB with GPT-2
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_worker_niceness": "0",  # of engines; light trials lower theirs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
# Sockets on the loopback interface alone, where no address is given.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
STORE_BYTES = 100 * 2**20
# Light trials and engines take next to nothing of Ray's CPUs. Ray starts a process for each of these beforehand: the
# first engine takes one; another would wait for good, waking a hundred times a second.
CPUS = 1
ANSWER_S = 5.0  # to take a connection at an address that was given


class Cluster:
    """Ray as this driver starts it, or joins it at `address`.

    One thread starts Ray, stays, and ends it: Ray's processes are killed by the kernel when the thread that started
    them ends, however it ends, which is also what frees the devices when the driver is killed.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.folder: Path | None = None
        self._before: set[int] = set()
        self._error: BaseException | None = None
        self._started = threading.Event()
        self._leave = threading.Event()
        self._keeper: threading.Thread | None = None
        self._hidden = HiddenSecrets()
        self._token: dict[str, str] = {}  # variables of a token of this launch's own
        self._core = CoreProcesses()

    def start(self, device: str) -> None:
        """Start Ray or join it; returns when it is there."""
        self._hidden.hide(joining=self.address is not None)
        self._keeper = threading.Thread(target=self._keep, args=(device,), name="ray", daemon=True)
        self._keeper.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    def _keep(self, device: str) -> None:
        # Masks are inherited: a Ctrl-C or a hang-up of the terminal reaches the whole process group, but only the
        # driver may act on it, since the engines have a checkpoint to write.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            self._init(device)
        except (RuntimeError, OSError) as error:
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            self._error = UserError(f"Ray could not be started: {cause}; the same command tries again")
        except BaseException as error:
            self._error = error
        self._started.set()
        self._leave.wait()
        _shutdown()

    def _init(self, device: str) -> None:
        if self.address is None:
            self._before = {process.pid for process in offspring()}
            folder = self.folder = session_folder.new_folder(Path(session_folder.short_temporary_folder()))
            self._token = session_folder.give_own_token(folder)
        prepare_environment(self.address)
        import ray

        silence()
        if self.address is not None:
            self._join(self.address)
            return
        gpus = {} if device == "cuda" else {"num_gpus": 0}
        with without_idle_helpers():
            ray.init(
                address="local",
                num_cpus=CPUS,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                object_store_memory=STORE_BYTES,
                _temp_dir=str(session_folder.session_folder(folder)),
                **gpus,
            )
        silence()

    def _join(self, address: str) -> None:
        import ray

        if not answers(address):
            raise UserError(f"no Ray cluster can be joined at --address {address!r}: nothing answers there")
        passed = {PASS_ENV: os.environ[PASS_ENV]} if PASS_ENV in os.environ else {}  # names: a node has its own values
        environment = {"PYTHONPATH": os.environ["PYTHONPATH"], **passed, **QUIET}
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": environment},
            )
        except ConnectionError:
            raise UserError(
                f"no Ray cluster can be joined at --address {address!r}; is it running, of the same Ray version, "
                "and with the same authentication (RAY_AUTH_MODE, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH) as here?"
            ) from None

    def loss(self) -> str | None:
        """Say which of Ray's own processes that this driver started is gone, None while all are there."""
        if self.folder is None:
            return None
        if not self._core.is_whole:
            self._core.look(self.processes())
        return self._core.loss()

    def stop(self, patience_s: float = 3.0, in_use: bool = False) -> None:
        """End Ray's processes that this driver started, by force those that are left after `patience_s`.

        `in_use`: a thread waits in Ray's core, which would not survive its shutdown: all is ended by force, and
        `leaving.at_once` is to follow.
        """
        processes = self.processes()
        # From here on Ray's own threads may complain about processes that are gone.
        threading.excepthook = lambda _: None
        if not in_use:
            self._leave.set()
            if self._keeper is not None:
                self._keeper.join(patience_s)
        kill(processes)
        if self.folder is not None:
            if self._core.loss() is not None:
                kill(left_behind(self.folder))  # what the raylet had started is nobody's below this process
            session_folder.take_token_back(self._token)
            shutil.rmtree(self.folder, ignore_errors=True)
        self._hidden.put_back()

    def kill(self) -> None:
        """End everything at once."""
        kill(self.processes())
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[Any]:
        """Return what this driver has started for Ray and still runs, as psutil's processes."""
        if self.address is not None or self.folder is None:
            return []
        return [process for process in offspring() if process.pid not in self._before]


def answers(address: str) -> bool:
    """Tell whether a HOST:PORT takes connections; Ray itself asks for a minute and logs each attempt."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if parts.hostname is None or parts.port is None:
            return True  # "auto" and the like: for Ray to judge
        with socket.create_connection((parts.hostname, parts.port), ANSWER_S):
            return True
    except (OSError, ValueError):
        return False


def prepare_environment(address: str | None) -> None:
    """Set what Ray's processes inherit; before Ray is imported."""
    os.environ.update(QUIET)
    if address is None:
        os.environ.update(LOOPBACK)
    # Workers import this house from wherever they start; an installed one they find by themselves, and a
    # site-packages folder in front of everything could hide modules of the standard library.
    known = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if ROOT.name not in ("site-packages", "dist-packages") and str(ROOT) not in known:
        known.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(known)


@contextlib.contextmanager
def without_idle_helpers() -> Iterator[None]:
    """Have Ray start neither its autoscaler nor its reader of logs: each costs a second of a core, and has no work."""
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in ("start_monitor", "start_log_monitor") if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, lambda self: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def silence() -> None:
    """Keep Ray's and Tune's messages off the terminal: what matters is in the records."""
    # Ray's own first tells its store of the error, which ends the process where that is gone.
    sys.excepthook = sys.__excepthook__
    for name in ("ray", "ray.tune", "ray.air", "ray.train", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\.")
    from ray._private import worker

    # Ray prints a raylet's messages on the driver's standard output; its own debugger turns them off like this.
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = False


def offspring() -> list[Any]:
    """Return all processes below this one."""
    import psutil

    return psutil.Process().children(recursive=True)


def kill(processes: list[Any]) -> None:
    """Kill processes at once and wait until they are gone."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=1)


def _shutdown() -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.shutdown()
