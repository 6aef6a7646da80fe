"""What dies beside the driver, and signals at a bad moment: always said, never waited for, nothing lost, no secret."""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from launches import LONG, PATIENCE_S, is_training, ray_processes, same_result, wait
from small_sweep import output, start, states
from waiting import wait_until

from sweep.ray_driver.session_folder import short_temporary_folder
from trainables.records.atomic_files import read_json

SECRETS = {
    "HF_TOKEN": "hf_MARKER0123456789",
    "AWS_SECRET_ACCESS_KEY": "MARKER/of/aws",
    "RAY_AUTH_TOKEN": "MARKERofray" * 6,
    "HTTPS_PROXY": "http://me:MARKERofproxy@proxy.invalid:3128",
}
SHORT = [{"max_steps": 0}, {"max_steps": 4}]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def session_folder_of(driver: psutil.Process) -> Path:
    """Return the folder that a driver has made for Ray."""
    parent = Path(short_temporary_folder())
    found = [path.parent for path in parent.glob("sw-*/driver.json") if read(path)["pid"] == driver.pid]
    assert len(found) == 1, found
    return found[0]


def read(path: Path) -> dict[str, Any]:
    import json

    return dict(json.loads(path.read_text()))


def holding(word: bytes, folder: Path) -> list[Path]:
    """Return the files below a folder that hold a word in their content or name."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and (word in path.read_bytes() or word.decode() in path.name):
            found.append(path)
    return found


def test_without_rays_core_a_launch_says_so_and_ends_and_no_secret_is_anywhere(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "run"
    process = start(out, LONG)
    driver = psutil.Process(process.pid)
    wait(lambda: is_training(out), process, out)
    below, folder = ray_processes(driver), session_folder_of(driver)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.log")) != []
    assert holding(b"MARKER", folder) == []
    told = {one.name(): [name for name, value in one.environ().items() if "MARKER" in value] for one in below}
    assert {name: secrets for name, secrets in told.items() if secrets} == {}
    [raylet] = [one for one in below if one.name() == "raylet"]
    raylet.kill()
    assert process.wait(timeout=30) == 1, output(out)
    said = " ".join(output(out).split())
    assert re.search(r"paused, Ray's own process raylet was killed \(SIGKILL\), and with it its engines: \d of 2", said)
    assert "python -m sweep.run again" in said
    _, alive = psutil.wait_procs(below, timeout=15)
    assert alive == []
    assert not folder.exists()
    assert start(out, LONG).wait(timeout=PATIENCE_S) == 0, output(out)
    same_result(out, uninterrupted)
    assert holding(b"MARKER", tmp_path) == []


def test_an_engine_that_died_while_it_loaded_is_tried_once_more(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert start(out, SHORT, engine="faulty_engines:MortalEngine").wait(timeout=PATIENCE_S) == 0, output(out)
    assert states(out) == {"zero-shot": "done", "B": "done"}
    assert "an engine's process died (the last it wrote: free(): invalid next size (fast)); a new one" in output(out)


def test_an_engine_that_dies_at_each_try_is_refused_with_what_it_wrote(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "always").touch()
    start(out, SHORT, engine="faulty_engines:MortalEngine").wait(timeout=PATIENCE_S)
    assert output(out).splitlines()[-1] == (
        "trainables.errors.UserError: the engine could not start: its process died 2 times while it was loading the "
        "model, the last time (the last it wrote: free(): invalid next size (fast)) (the whole of it is in "
        f"{out / 'engine-error.txt'})"
    )
    assert "some warning" in (out / "engine-error.txt").read_text()


def test_a_signal_to_a_launch_whose_engine_does_not_listen_ends_it_all_the_same(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, SHORT, engine="faulty_engines:DeafEngine")
    wait((out / "evaluating").exists, process, out)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143, output(out)
    assert time.monotonic() - began < 11
    assert "interrupted by SIGTERM: 0 of 2 trials are finished; continue with" in " ".join(output(out).split())
    assert output(out).count("python -m sweep.run again") == 1
    assert read_json(out / "lease.json")["released"]


def test_a_signal_ends_a_launch_that_nobody_reads_with_its_own_code(tmp_path: Path) -> None:
    import subprocess
    import sys

    from small_sweep import HERE, ROOT

    out, (reading, writing) = tmp_path / "run", os.pipe()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    plan = '{"trials": [{"max_steps": 0}, {"max_steps": 4}], "options": {"engine": "faulty_engines:DeafEngine"}}'
    process = subprocess.Popen(
        [sys.executable, str(HERE / "small_sweep.py"), str(out), plan],
        stdout=writing, stderr=writing, start_new_session=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    os.close(writing)
    wait_until(lambda: process.poll() is not None or (out / "evaluating").exists(), 240)
    assert process.poll() is None, os.read(reading, 10_000)
    os.close(reading)  # as `| tee log` does, which the signal to the group has ended
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=20) == 143


START_RAY = """
import sys
from sweep.ray_driver import session_folder
from sweep.ray_driver.cluster import Cluster
from trainables.errors import UserError
session_folder.short_temporary_folder = lambda: sys.argv[1]
cluster = Cluster()
try:
    cluster.start("cpu")
except UserError as error:
    print(error)
finally:
    cluster.stop()
"""


def test_ray_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    import subprocess
    import sys

    from small_sweep import ROOT

    far = tmp_path / ("long" * 20)  # for the path of a socket
    far.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", START_RAY, str(far)], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.stdout.startswith("Ray could not be started: OSError: "), done
    assert "AF_UNIX path length cannot exceed" in done.stdout
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
