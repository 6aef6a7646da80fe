"""One driver at a time writes a sweep: a lease with an owner and a generation, and the fence that engines ask (no ray).

The owner renews `lease.json` every 10 s. A lease is stale 60 s after that, or at once where its owner's process is
known dead on this host; then the next driver takes over with the next generation, and whoever still writes for the
former one is stopped by the fence. Where a clock was set back a renewal may lie in the future: such a lease is watched,
and stale where nobody renews it within the 60 s.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.record import Fence
from trainables.startup_progress import stage

RENEW_S = 10.0
STALE_S = 60.0
AHEAD_S = 10.0  # of the clock, from which on a renewal was made before it was set back
START_DIFFERS_S = 2.0
EPOCH_S = 5e8  # a start that is later is one since the epoch, as former versions wrote it
LOOK_S = 0.1
LEASE_FILE = "lease.json"


class LeaseLost(RuntimeError):
    """Another driver has taken this sweep over: nothing more may be written."""


@dataclass(frozen=True)
class Process:
    """A process that is told from a later one with the same number: host, pid, start in seconds (see `start_of`)."""

    host: str
    pid: int
    started: float

    @property
    def is_here(self) -> bool:
        return self.host == this_host()

    @property
    def is_dead(self) -> bool:
        """True only where that is known: on this host, with no such process."""
        if not self.is_here:
            return False
        started = start_of(self.pid, since_epoch=self.started > EPOCH_S)
        return started is None or abs(started - self.started) > START_DIFFERS_S


def this_process() -> Process:
    """Return the process that asks."""
    return Process(this_host(), os.getpid(), start_of(os.getpid()) or 0.0)


def start_of(pid: int, since_epoch: bool = False) -> float | None:
    """Return when a process of this host started, None where there is none (or only its unreaped remains).

    In seconds since the machine's own start where the system tells them, which no setting of the clock moves; else,
    and where asked for, since the epoch.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        with contextlib.suppress(OSError, ValueError, IndexError):
            if since_epoch:
                return process.create_time()
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            return int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def this_host() -> str:
    """Name the set of processes that this one can see: host, boot and process namespace."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return f"{platform.node()}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"


@dataclass
class Lease:
    """The right to write a sweep, renewed by a thread until it is released or lost."""

    folder: Path
    owner: str
    generation: int
    on_lost: Callable[[], None] | None = None
    is_lost: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def fence(self) -> Fence:
        return fence(self.folder, self.owner, self.generation)

    def keep(self) -> None:
        """Renew every 10 s from a thread of its own."""
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self.renew()
            except LeaseLost:
                self.is_lost = True
                self._ended.set()
                if self.on_lost is not None:
                    self.on_lost()
            except OSError:
                continue  # a full or absent disk: the next renewal may succeed, else the lease grows stale

    def renew(self) -> None:
        """Write the lease anew; raises LeaseLost where another driver has it."""
        with _alone(self.folder):
            if not self._ended.is_set():
                self.fence()
                _write(self.folder, self.owner, self.generation)

    def release(self) -> None:
        """Give the sweep back, so that the next driver need not wait; safe to call twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        with contextlib.suppress(LeaseLost, OSError), _alone(self.folder):
            self.fence()
            _write(self.folder, self.owner, self.generation, released=True)

    def end_with(self, last: Callable[[], None]) -> None:
        """Do a last thing that no other driver can come upon, such as removing the lease itself, and let it go."""
        self._ended.set()
        with contextlib.suppress(LeaseLost, OSError), _alone(self.folder):
            self.fence()
            last()


def acquire(folder: Path) -> Lease:
    """Take the lease of a sweep and keep it renewed; raises UserError naming who holds it."""
    folder = Path(folder).resolve()
    owner = secrets.token_hex(8)
    _watch_where_ahead(folder)
    with _alone(folder):
        held = read(folder)
        if held is not None and not is_stale(folder, held):
            raise UserError(_refusal(folder, held))
        generation = (held["generation"] if held else 0) + 1
        _write(folder, owner, generation)
    lease = Lease(folder, owner, generation)
    try:
        lease.fence()
    except LeaseLost:
        raise UserError(f"another run has just taken {folder}") from None
    lease.keep()
    return lease


def _watch_where_ahead(folder: Path) -> None:
    """Where a lease was renewed in the future, wait until it is renewed again, or make it old where it never is."""

    def written() -> tuple[Any, ...] | None:
        held = read(folder)
        if held is None or is_stale(folder, held) or age_s(folder) >= -AHEAD_S:
            return None
        return held["owner"], held["generation"], held["renewed_at"]

    first = written()
    if first is None:
        return
    with stage("the clock was set back: watching whether another run still renews its lease"):
        until = time.monotonic() + STALE_S
        while written() == first:
            if time.monotonic() > until:
                with _alone(folder):
                    if written() == first:
                        old = _lock_path(folder).stat().st_mtime - 2 * STALE_S
                        os.utime(folder / LEASE_FILE, (old, old))
                return
            time.sleep(LOOK_S)


def fence(folder: Path, owner: str, generation: int) -> Fence:
    """Return the fence of one holder: it reads `lease.json` and raises LeaseLost where that names another."""
    path = Path(folder) / LEASE_FILE

    def check() -> None:
        try:
            held = atomic_files.read_json(path)
        except (FileNotFoundError, atomic_files.DamagedFile):
            raise LeaseLost(f"the lease {path} is gone") from None
        if (held["owner"], held["generation"]) != (owner, generation) or held["released"]:
            raise LeaseLost(f"another run has taken {folder} over (generation {held['generation']})")

    return check


def read(folder: Path) -> dict[str, Any] | None:
    """Return the lease of a sweep as written, None where there is none that can be read."""
    return atomic_files.read_json_if_whole(Path(folder) / LEASE_FILE)


def is_stale(folder: Path, held: dict[str, Any]) -> bool:
    """Tell whether a lease may be taken over."""
    if held["released"] or process_of(held).is_dead:
        return True
    return age_s(folder) > STALE_S


def process_of(held: dict[str, Any]) -> Process:
    """Return the process that a lease names."""
    return Process(held["host"], held["pid"], held["started"])


def age_s(folder: Path) -> float:
    """Return the seconds since the last renewal, both times read off the folder's own file system."""
    probe = _lock_path(folder)
    try:
        os.utime(probe)
        return probe.stat().st_mtime - (folder / LEASE_FILE).stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    except OSError:  # a disk that this process may only read
        return time.time() - (folder / LEASE_FILE).stat().st_mtime


def _refusal(folder: Path, held: dict[str, Any]) -> str:
    where = "on this host" if process_of(held).is_here else f"on {held['host'].rsplit('-', 1)[0]}"
    return (
        f"{folder} is being written by another run (process {held['pid']} {where}, "
        f"renewed {max(0, round(age_s(folder)))} s ago); wait for it, end it, or give another --out"
    )


def _write(folder: Path, owner: str, generation: int, released: bool = False) -> None:
    me = this_process()
    content = {"owner": owner, "generation": generation, "host": me.host, "pid": me.pid, "started": me.started}
    atomic_files.write_json(folder / LEASE_FILE, {**content, "renewed_at": time.time(), "released": released})


def _lock_path(folder: Path) -> Path:
    return folder / ".lease.lock"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time read and then write the lease; the lock ends with its holder, however that ends."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with _lock_path(folder).open("a") as lock:
        try:
            # Not by filelock, which polls: it takes 45 ms where the kernel hands the lock over in 0.1 ms.
            fcntl.flock(lock, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False  # a file system without locks: the last writer holds the lease
        yield
        if not locked:
            time.sleep(0.5)  # so that whoever raced reads the last writer's lease in its check
