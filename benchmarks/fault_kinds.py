"""The faults that a sweep is struck by, each a function of a folder and a seeded chance; they raise NotAsUndisturbed.

Each strikes a sweep in mid-training, lets it go on (or continues it by its own command) and compares it with one that
nothing happened to: the same trials, states, curves and texts, and no finished trial run again.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.fault_sweep import NotAsUndisturbed, Sweep, compare, process_of, still_there
from sweep.ray_driver.session_folder import short_temporary_folder
from trainables.records import atomic_files

SECRETS = {
    "HF_TOKEN": "hf_MARKERofthehub0123456789",
    "AWS_SECRET_ACCESS_KEY": "MARKER/of/a/store",
    "MYSQL_PWD": "MARKERofadatabase",
    "HTTPS_PROXY": "http://me:MARKERofaproxy@proxy.invalid:3128",
    "OPENAI_API_KEY": "MARKERofaservice",
}
RAY_ENDS_S = 30.0
SIGNAL_S = 12.0
FREE_BYTES = 100 * 2**10  # left on a disk that fills
DISK_BYTES = 512 * 2**20
ENGINE_BYTES = 2**20  # that an engine may use beyond what it has


def kills_of_the_driver(folder: Path, chance: random.Random, whole: Sweep, kills: int) -> str:
    """kill -9 of the driver in mid-training, again and again in one sweep under ASHA, then to its end."""
    sweep, struck = Sweep(folder / "run", [*whole.arguments, "--scheduler", "asha"]), 0
    while struck < kills:
        sweep.start()
        if not sweep.train_on(chance, 1, 12):
            sweep.end()
            break
        finished = sweep.results()
        sweep.kill()
        struck += 1
        still_there(sweep, finished)
    finished = sweep.results()
    sweep.run()
    still_there(sweep, finished)
    worst = compare(sweep, whole, stopped_early=True)
    return f"{struck} kills, losses within {worst:.1e}"


def signals_in_evaluation(folder: Path, chance: random.Random, whole: Sweep, signals: int) -> str:
    """SIGTERM, to the process and to its group in turn, while a trained trial is being evaluated; then to its end."""
    sweep, struck, longest_s = Sweep(folder / "run", whole.arguments), 0, 0.0
    while struck < signals:
        driver = sweep.start()
        assert sweep.process is not None
        # What a signal has ended in an evaluation is loaded and evaluated anew: it strikes anywhere on that way.
        if not sweep.wait_for(lambda driver=driver: sweep.is_evaluating() and process_of(driver, "EngineHost")):  # type: ignore[misc]
            break
        time.sleep(chance.uniform(0, 1 if struck == 0 else 12))
        began, lines = time.monotonic(), sweep.said.count("interrupted by SIGTERM")
        if sweep.process.poll() is not None:
            break
        os.killpg(sweep.process.pid, signal.SIGTERM) if struck % 2 else sweep.process.terminate()
        sweep.end(143, SIGNAL_S)
        longest_s = max(longest_s, time.monotonic() - began)
        if sweep.said.count("interrupted by SIGTERM") != lines + 1 or sweep.said.count("continue with") != lines + 1:
            raise NotAsUndisturbed(f"the line that continues is not said once: {sweep.output[-1500:]}")
        struck += 1
    sweep.run()
    return f"{struck} signals, {longest_s:.0f} s at most, losses within {compare(sweep, whole):.1e}"


def deaths_below_the_driver(folder: Path, chance: random.Random, whole: Sweep) -> str:
    """kill -9 of the engine, of a light trial and of the raylet in one sweep, with secrets in its environment."""
    sweep = Sweep(folder / "run", whole.arguments, SECRETS)
    driver = sweep.start()
    for name, said in (
        ("EngineHost", "an engine's process died "),
        ("ImplicitFunc", "the process that follows it died"),
    ):
        if not sweep.train_on(chance, 2, 10):
            raise NotAsUndisturbed(f"it ended before {name} could be killed: {sweep.output[-1000:]}")
        _kill(driver, name)
        sweep.wait_for(lambda said=said: said in sweep.said)  # type: ignore[misc]
    sweep.train_on(chance, 1, 6)
    sessions = [path.parent for path in Path(short_temporary_folder()).glob("sw-*/driver.json")]
    _no_secret(next(path for path in sessions if f'"pid": {driver.pid},' in (path / "driver.json").read_text()))
    _kill(driver, "raylet")
    began = time.monotonic()
    sweep.end(1, RAY_ENDS_S)
    took_s = time.monotonic() - began
    _said(sweep, "Ray's own process raylet was killed (SIGKILL)", "continue with", "sweep.run grid_2x2x2")
    sweep.run()
    _no_secret(folder)
    return f"ended {took_s:.0f} s after the raylet, losses within {compare(sweep, whole):.1e}"


def a_full_disk(folder: Path, chance: random.Random, whole: Sweep) -> str:
    """A disk that fills in mid-training: the sweep pauses, and goes on when there is room."""
    with _disk(folder / "disk") as disk:
        sweep = Sweep(disk / "run", whole.arguments)
        sweep.start()
        if not sweep.train_on(chance, 2, 20):
            raise NotAsUndisturbed(f"it ended before the disk was full: {sweep.output[-1500:]}")
        finished, filler = sweep.results(), disk / "filler"
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while shutil.disk_usage(disk).free > FREE_BYTES:
                file.write(bytes(2**16))
                file.flush()
        assert sweep.process is not None
        code = sweep.process.wait(timeout=420)
        filler.unlink()
        if code != 1:
            raise NotAsUndisturbed(f"exit {code} on a full disk: {sweep.output[-1500:]}")
        _said(sweep, "continue with")
        still_there(sweep, finished)
        sweep.run()
        return f"paused, losses within {compare(sweep, whole):.1e}"


def little_memory(folder: Path, chance: random.Random, whole: Sweep) -> str:
    """A limit of memory on the engine's process by a control group: the kernel kills it, and another goes on."""
    sweep = Sweep(folder / "run", whole.arguments)
    driver = sweep.start()
    if not sweep.train_on(chance, 2, 10):
        raise NotAsUndisturbed("it ended before its engine was limited")
    engine = process_of(driver, "EngineHost")
    if engine is None:
        raise NotAsUndisturbed("there is no engine")
    with _limited(engine.pid):
        sweep.wait_for(lambda: "an engine's process died" in sweep.said)
        sweep.end()
    _said(sweep, "an engine's process died")
    return f"killed for its memory, losses within {compare(sweep, whole):.1e}"


def taken_elsewhere(folder: Path, chance: random.Random, whole: Sweep, clock_back: bool = True) -> str:
    """A second driver, kill -9, a lease of another host from before the clock was set back, and a copy elsewhere."""
    sweep = Sweep(folder / "run", whole.arguments)
    sweep.start()
    if not sweep.train_on(chance, 2, 20):
        raise NotAsUndisturbed("it ended before it was struck")
    second = Sweep(sweep.out, whole.arguments)
    with contextlib.suppress(FileNotFoundError):
        second.log.rename(second.log.with_name("first.log"))  # which the first one goes on writing
    second.start()
    second.end(2)
    _said(second, "is being written by another run")
    sweep.kill()
    copy = Sweep(folder / "elsewhere" / "copied", whole.arguments)
    shutil.copytree(sweep.out, copy.out)
    shutil.rmtree(sweep.out)
    if clock_back:
        lease = copy.out / "lease.json"
        atomic_files.write_json(lease, {**atomic_files.read_json(lease), "host": "elsewhere-0123"})
        os.utime(lease, (time.time() + 3600, time.time() + 3600))
    finished = copy.results()
    copy.run()
    if clock_back:
        _said(copy, "the clock was set back")
    still_there(copy, finished)
    return f"continued elsewhere, losses within {compare(copy, whole):.1e}"


def _kill(driver: psutil.Process, name: str) -> None:
    process = process_of(driver, name)
    if process is None:
        raise NotAsUndisturbed(f"there is no {name} to kill")
    process.kill()


def _said(sweep: Sweep, *words: str) -> None:
    for part in words:
        if part not in sweep.said:
            raise NotAsUndisturbed(f"{part!r} is not said: {sweep.output[-1500:]}")


def _no_secret(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and b"MARKER" in path.read_bytes():
            raise NotAsUndisturbed(f"a secret is in {path}")


@contextlib.contextmanager
def _disk(at: Path) -> Iterator[Path]:
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def can_mount() -> bool:
    """Tell whether a small disk can be made here."""
    return os.name == "posix" and os.geteuid() == 0 and shutil.which("mount") is not None


def memory_groups() -> Path | None:
    """Return the folder in which a control group of memory can be made here, None where there is none."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"faults-{os.getpid()}-probe"
        with contextlib.suppress(OSError):
            group.mkdir()
            found = (group / limit).exists()
            group.rmdir()
            if found:
                return root
    return None


@contextlib.contextmanager
def _limited(pid: int) -> Iterator[None]:
    root = memory_groups()
    assert root is not None, "there are no control groups to write"
    group = root / f"faults-{os.getpid()}"
    group.mkdir()
    try:
        limit = "memory.limit_in_bytes" if (group / "memory.limit_in_bytes").exists() else "memory.max"
        (group / limit).write_text(str(ENGINE_BYTES))
        (group / "cgroup.procs").write_text(str(pid))  # what it has stays counted where it came from
        yield
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.2)
