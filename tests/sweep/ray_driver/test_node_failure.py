"""A cluster that falls silent, and a driver that was stopped for a while: only the first ends a launch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sweep.ray_driver.node_failure import SILENT_LOOKS, NodeWatcher
from sweep.ray_driver.placement import EnginePlace, Node

ROOT = Path(__file__).resolve().parents[3]


def losses(folder: Path) -> NodeWatcher:
    place = EnginePlace(Node("one", "one", 1), 1)
    engines: dict[str, Any] = {"engine": object()}
    return NodeWatcher(folder, engines, {"engine": place}, {"engine": ()}, dict, lambda _: None)


def test_a_cluster_that_answers_again_is_not_lost_and_one_that_refuses_for_good_is(tmp_path: Path) -> None:
    asked = 0

    def ask() -> set[str]:
        nonlocal asked
        asked += 1
        if asked % 6 == 0 and asked <= 24:
            return {"own", "one"}
        raise ConnectionError

    found = losses(tmp_path)
    found.follow(threading.Event(), "own", ask, look_s=0.02)
    assert asked > 24 > SILENT_LOOKS
    assert found.end == "the Ray cluster has not answered for 24 s"


def test_a_cluster_in_which_a_question_hangs_is_lost_and_the_watcher_stays_with_it(tmp_path: Path) -> None:
    answer, found = threading.Event(), losses(tmp_path)

    def ask() -> set[str]:
        answer.wait()
        return {"own"}

    watcher = threading.Thread(target=found.follow, args=(threading.Event(), "own", ask, 0.001), daemon=True)
    watcher.start()
    while found.end is None:
        assert watcher.is_alive()
    assert watcher.is_alive()  # a launch that ends has to know that a thread is in Ray's core
    answer.set()
    watcher.join()
    assert "not answered" in found.end


STOPPED = """
import sys, threading, time
from pathlib import Path
from test_node_failure import losses
found, ended = losses(Path(sys.argv[1])), threading.Event()
watch = threading.Thread(target=found.follow, args=(ended, "own", lambda: {"own", "one"}, 0.05), daemon=True)
watch.start()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    assert found.end is None, found.end
    time.sleep(0.01)
ended.set()
watch.join()
print("healthy", found.end)
"""


@pytest.mark.slow
def test_a_driver_that_was_stopped_for_longer_than_a_silence_goes_on(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGSTOP)
    threading.Event().wait(1.0)  # a silence is 12 looks of 0.05 s here
    process.send_signal(signal.SIGCONT)
    assert process.communicate("go on\n")[0] == "healthy None\n"
