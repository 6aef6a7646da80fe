"""What Ray itself does with the places of engines: a GPU each over all nodes, and a node that lacks the folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray_nodes
from small_sweep import output, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# An engine's actor as a launch starts it, but for what it does with its device.
PLACED = """
import json, os, sys
from sweep.ray_driver.placement import cluster_nodes, placement_sentences, places
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="critical")
@ray.remote
class Engine:
    def where(self):
        return ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES")
nodes = cluster_nodes()
found = {}
for per_gpu, jobs in ((1, 8), (1, 2), (2, 8)):
    placed = places(nodes, "cuda", jobs, per_gpu)
    engines = [Engine.options(num_cpus=0, **place.options).remote() for place in placed]
    found[f"{per_gpu} {jobs}"] = ray.get([engine.where.remote() for engine in engines], timeout=60)
    for engine in engines:
        ray.kill(engine)
print(json.dumps(found))
"""
# A node as `Cluster.add_node` makes one, from a process that can be given another view of the file system.
JOIN = """
import sys, time
from ray._private.node import Node
from ray._private.parameter import RayParams
parameters = RayParams(gcs_address=sys.argv[1], num_cpus=1, num_gpus=0, object_store_memory=80 * 2**20,
                       min_worker_port=0, max_worker_port=0, node_manager_port=0, include_log_monitor=False)
parameters.dashboard_agent_listen_port = None
node = Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=False)
print("joined", flush=True)
time.sleep(300)
"""


def test_engines_take_every_gpu_of_every_node_once() -> None:
    wanted = [{"num_cpus": 1, "num_gpus": 1}, {"num_cpus": 1, "num_gpus": 2}]
    with ray_nodes.running(wanted) as nodes:
        environment = {**os.environ, **nodes.environment}
        command = [sys.executable, "-c", PLACED, nodes.address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {key: [tuple(pair) for pair in pairs] for key, pairs in json.loads(done.stdout).items()}
    assert len(set(found["1 8"])) == len(found["1 8"]) == 3, "a GPU each"
    assert len({node for node, _ in found["1 2"]}) == 2, "over the nodes before a second one on any"
    assert sorted(found["2 8"].count(pair) for pair in set(found["2 8"])) == [2, 2, 2]


@pytest.fixture
def blind_node(tmp_path: Path) -> Iterator[ray_nodes.Nodes]:
    """A cluster whose second node has an empty folder where the sweep's is."""
    (tmp_path / "sweeps").mkdir()
    with ray_nodes.running([{"num_cpus": 1}]) as nodes:
        environment = {**os.environ, **nodes.environment}
        hide = 'mount -t tmpfs tmpfs "$1" && exec "$2" -c "$3" "$4"'
        words = ["sh", str(tmp_path / "sweeps"), sys.executable, JOIN, nodes.address]
        second = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", hide, *words], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert second.stdout is not None
            assert second.stdout.readline() == "joined\n"
            yield nodes
        finally:
            for one in [*below(second.pid), psutil.Process(second.pid)]:
                one.kill()
            second.wait()
            second.stdout.close()  # type: ignore[union-attr]


def below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="hiding a folder from one process takes the right to mount",
)
def test_a_node_that_does_not_see_the_folder_is_named_before_anything_trains(
    blind_node: ray_nodes.Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in blind_node.environment.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "sweeps" / "run"
    process = start(out, [{"max_steps": 2}, {"max_steps": 2, "learning_rate": 1e-3}], address=blind_node.address)
    assert process.wait(timeout=120) != 0
    last = " ".join(output(out).split())
    assert f"UserError: {out} is not there on node " in last, output(out)
    assert "that all nodes mount at the same path" in last or "there too" in last
    assert list(out.glob("trials/*/metrics.jsonl")) == []
