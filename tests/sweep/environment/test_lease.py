"""The lease: one driver at a time, taken over when stale, and a fence for whoever writes on behalf of the former."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

from sweep.environment import lease
from sweep.environment.lease import LeaseLost, acquire, fence
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.startup_progress import current

ROOT = Path(__file__).resolve().parents[3]

HOLD = """
import sys, time
from pathlib import Path
from sweep.environment.lease import acquire
from trainables.errors import UserError
try:
    lease = acquire(Path(sys.argv[1]))
except UserError:
    print("refused", flush=True)
    sys.exit(2)
print("held", lease.generation, flush=True)
time.sleep(float(sys.argv[2]))
"""


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def make_old(folder: Path, host: str = "elsewhere-0123") -> None:
    """Make the lease look like one of another host, renewed two minutes ago."""
    path = folder / lease.LEASE_FILE
    atomic_files.write_json(path, {**atomic_files.read_json(path), "host": host})
    old = time.time() - 120
    os.utime(path, (old, old))


def test_a_second_driver_is_refused_and_told_who_holds_the_sweep(tmp_path: Path) -> None:
    first = holder(tmp_path, 30)
    assert answer(first) == "held 1"
    with pytest.raises(UserError, match=rf"process {first.pid} on this host"):
        acquire(tmp_path)
    first.kill()
    first.wait()


def test_a_killed_driver_leaves_a_lease_that_is_stale_at_once(tmp_path: Path) -> None:
    first = holder(tmp_path, 30)
    assert answer(first) == "held 1"
    first.kill()
    first.wait()
    second = acquire(tmp_path)
    assert second.generation == 2
    second.release()


def test_a_driver_that_was_killed_and_not_reaped_is_dead_too(tmp_path: Path) -> None:
    first = holder(tmp_path, 30)
    assert answer(first) == "held 1"
    first.kill()
    wait_until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_ZOMBIE)
    second = acquire(tmp_path)
    second.release()
    first.wait()


def test_a_lease_of_another_host_is_honoured_until_it_is_old(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    path = tmp_path / lease.LEASE_FILE
    atomic_files.write_json(path, {**atomic_files.read_json(path), "host": "elsewhere-0123"})
    with pytest.raises(UserError, match="on elsewhere,"):
        acquire(tmp_path)
    make_old(tmp_path)
    second = acquire(tmp_path)
    assert second.generation == 2
    with pytest.raises(LeaseLost, match="generation 2"):
        first.fence()
    with pytest.raises(LeaseLost):
        first.renew()
    second.fence()
    second.release()


def test_exactly_one_of_many_racing_drivers_takes_a_stale_lease(tmp_path: Path) -> None:
    acquire(tmp_path).release()
    first = acquire(tmp_path)
    make_old(tmp_path)
    racers = [holder(tmp_path, 5) for _ in range(5)]
    answers = sorted(answer(racer) for racer in racers)
    for racer in racers:
        racer.kill()
        racer.wait()
    assert answers == ["held 3", *["refused"] * 4]
    with pytest.raises(LeaseLost):
        first.fence()


def test_a_released_lease_is_free_and_closes_its_fence(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    mine = fence(tmp_path, first.owner, first.generation)
    mine()
    first.release()
    with pytest.raises(LeaseLost):
        mine()
    second = acquire(tmp_path)
    assert second.generation == 2
    first.release()  # late, and no longer its own: must not free the second one's
    second.fence()
    second.release()


def test_a_fence_closes_when_the_lease_is_removed_or_damaged(tmp_path: Path) -> None:
    held = acquire(tmp_path)
    path = tmp_path / lease.LEASE_FILE
    whole = path.read_text()
    path.write_text(whole[:-20])
    with pytest.raises(LeaseLost, match="gone"):
        held.fence()
    path.unlink()
    with pytest.raises(LeaseLost, match="gone"):
        held.fence()
    held.release()
    assert not path.exists()


def test_a_lease_is_renewed_while_its_driver_lives_and_tells_when_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    held = acquire(tmp_path)
    lost: list[bool] = []
    held.on_lost = lambda: lost.append(True)
    first = atomic_files.read_json(tmp_path / lease.LEASE_FILE)["renewed_at"]
    path = tmp_path / lease.LEASE_FILE
    wait_until(lambda: atomic_files.read_json(path)["renewed_at"] > first)
    with lease._alone(tmp_path):  # as another driver would: a renewal must not come between reading and writing
        make_old(tmp_path)
        atomic_files.write_json(path, {**atomic_files.read_json(path), "owner": "another", "generation": 2})
    wait_until(lambda: lost)
    assert lost == [True]
    assert atomic_files.read_json(path)["owner"] == "another"


def renew_in_the_future(folder: Path) -> None:
    """Make the lease look like one of another host that was renewed before the clock was set back by an hour."""
    path = folder / lease.LEASE_FILE
    atomic_files.write_json(path, {**atomic_files.read_json(path), "host": "elsewhere-0123"})
    ahead = time.time() + 3600
    os.utime(path, (ahead, ahead))


def test_a_lease_from_before_the_clock_was_set_back_is_taken_over_once_nobody_renews_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = acquire(tmp_path)
    renew_in_the_future(tmp_path)
    monkeypatch.setattr(lease, "STALE_S", 0.5)
    second = acquire(tmp_path)
    assert second.generation == 2
    with pytest.raises(LeaseLost):
        first.fence()
    second.release()


def test_a_lease_that_is_still_renewed_is_honoured_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = acquire(tmp_path)
    renew_in_the_future(tmp_path)

    def renew_later() -> None:
        wait_until(lambda: (stage := current()) and "the clock was set back" in stage.name)
        with lease._alone(tmp_path):
            path = tmp_path / lease.LEASE_FILE
            atomic_files.write_json(path, {**atomic_files.read_json(path), "renewed_at": time.time()})

    renewing = threading.Thread(target=renew_later)
    renewing.start()
    with pytest.raises(UserError, match="on elsewhere, renewed 0 s ago"):
        acquire(tmp_path)
    renewing.join()
    first.fence()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell it")
def test_the_start_of_a_process_does_not_depend_on_the_clock() -> None:
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = lease.start_of(child.pid)
    assert started is not None
    assert since_boot - 0.1 <= started <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert started == lease.start_of(child.pid)
    former = lease.Process(lease.this_host(), child.pid, psutil.Process(child.pid).create_time())
    assert not former.is_dead
    child.kill()
    child.wait()
    assert lease.start_of(child.pid) is None
