"""Nothing is lost: kill -9 anywhere, run the same command again, get the same table byte for byte.

Eight seeded kills of the driver and of the engine, two of them aimed at the moment when a result is being written.
Each interrupted sweep is continued to its end and compared with a sweep that was never interrupted. Twenty kills in
mid-training under ASHA, and every other way to die, are `python -m benchmarks.faults`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [
    *(sys.executable, "-m", "sweep.run", "grid_2x2x2", "--source", "bundled", "--device", "cpu"),
    *("prompt=v1", "lora_rank=4", "learning_rate=5e-3,2e-3", "max_steps=8", "train_examples=16"),
    *("--eval-examples", "8,12", "--max-new-tokens", "12"),
]
TABLE = "report/comparison-without-timing.csv"
KILLS = 8


def start(out: Path) -> subprocess.Popen[bytes]:
    log = out.with_suffix(".log").open("ab")
    return subprocess.Popen([*COMMAND, "--out", str(out)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def finish(out: Path) -> None:
    process = start(out)
    code = process.wait(timeout=300)
    assert code == 0, out.with_suffix(".log").read_text()[-3000:]


def engines(driver: psutil.Process) -> list[psutil.Process]:
    """Engine processes below a driver: Ray names an actor's process after its class."""
    found = []
    for child in driver.children(recursive=True):
        try:
            if "Engine" in " ".join(child.cmdline()) and child.cmdline()[0].startswith("ray::"):
                found.append(child)
        except (psutil.NoSuchProcess, IndexError):
            continue
    return found


def result_is_being_written(out: Path, number: int) -> bool:
    """Tell whether the result of the trial that ends as `number`-th is being written, or was a moment ago."""
    begun = {
        path.parent for name in (".result.json.*.tmp", "result.json") for path in (out / "trials").glob(f"*/{name}")
    }
    return len(begun) >= number


def wait_for(condition, process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None and not condition():
        time.sleep(0.0005)


def gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert alive == [], alive


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    out = tmp_path_factory.mktemp("whole") / "run"
    started = time.monotonic()
    finish(out)
    return (out / TABLE).read_bytes(), time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_sweep_continues_to_the_same_table(
    number: int, uninterrupted: tuple[bytes, float], tmp_path: Path
) -> None:
    table, whole_s = uninterrupted
    share = random.Random(f"kill {number}").uniform(0.1, 1.0)
    # A sweep that was faster this time ends before it is killed: then another one is killed earlier.
    tries = (run_and_kill(number, share * whole_s / 2**attempt, tmp_path) for attempt in range(6))
    out, finished_before = next(killed for killed in tries if killed is not None)
    finish(out)
    assert (out / TABLE).read_bytes() == table
    assert {path: path.read_bytes() for path in finished_before} == finished_before


def run_and_kill(number: int, after_s: float, folder: Path) -> tuple[Path, dict[Path, bytes]] | None:
    """Start a sweep and kill its driver or its engine; return its folder and the results that it had by then.

    None where it ended before.
    """
    out = folder / f"run-{after_s:.3f}"
    process = start(out)
    driver = psutil.Process(process.pid)
    if number % 4 == 3:
        ending = random.Random(f"result {number}").randint(1, 3)
        wait_for(lambda: result_is_being_written(out, ending), process, 300)
    else:
        wait_for(lambda: False, process, after_s)
    results = {path: path.read_bytes() for path in (out / "trials").glob("*/result.json")}
    kill = kill_engine if number % 2 else kill_driver
    return (out, results) if kill(process, driver) else None


def kill_driver(process: subprocess.Popen[bytes], driver: psutil.Process) -> bool:
    if process.poll() is not None:
        return False
    below = driver.children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    killed = process.wait(timeout=30) == -signal.SIGKILL
    # Ray's agents hold no device and leave a minute later.
    titles = {child: " ".join(safe_cmdline(child)) for child in below}
    gone([child for child, title in titles.items() if "ray::" in title and "Agent" not in title])
    return killed


def kill_engine(process: subprocess.Popen[bytes], driver: psutil.Process) -> bool:
    """Kill the engine, which the sweep survives: another one takes its place."""
    wait_for(lambda: bool(engines(driver)), process, 120)
    found = engines(driver) if process.poll() is None else []
    for engine in found:
        engine.kill()
    process.wait(timeout=300)
    return bool(found)


def safe_cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
