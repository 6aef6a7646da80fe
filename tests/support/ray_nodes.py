"""A Ray cluster of several nodes on this machine, closed to the network, in a process of its own.

Run as a script it starts them, prints a JSON line {"address", "raylets"} and ends with its standard input:
`python ray_nodes.py FOLDER '[{"num_cpus": 1}, {}]'` has a node per entry, the first one is the head. Ray believes what
it is told of GPUs: none has to be there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STORE_BYTES = 80 * 2**20


@dataclass(frozen=True)
class Nodes:
    """A running cluster: its address, the process of each node's raylet, and what a driver needs to join it."""

    address: str
    raylets: list[int]
    environment: dict[str, str]


@contextlib.contextmanager
def running(wanted: Sequence[dict[str, int]], token_in_file: bool = True) -> Iterator[Nodes]:
    """Start a node per entry and end them all with the block; the token lies in a file or in the environment."""
    folder = Path(tempfile.mkdtemp(prefix="sn-", dir="/tmp"))
    token = folder / "token"
    token.write_text(secrets.token_hex(32), encoding="ascii")
    added = {
        "RAY_AUTH_MODE": "token",
        **({"RAY_AUTH_TOKEN_PATH": str(token)} if token_in_file else {"RAY_AUTH_TOKEN": token.read_text()}),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
        "HOME": str(folder),
    }
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), str(folder), json.dumps(list(wanted))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **added},
        cwd=folder, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, (folder / "log").read_text()
        yield Nodes(**json.loads(said), environment=added)
    finally:
        end(process)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def end(process: subprocess.Popen[str]) -> None:
    """Let the cluster's own process end it, and kill what is left below it."""
    import psutil

    below = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        process.communicate("end\n", timeout=15)
    process.kill()
    for one in below:
        with contextlib.suppress(psutil.Error):
            one.kill()
    process.wait()


def main() -> None:
    from ray.cluster_utils import Cluster

    folder, wanted = sys.argv[1], json.loads(sys.argv[2])
    cluster = Cluster(shutdown_at_exit=False)
    common: dict[str, Any] = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        nodes = [cluster.add_node(temp_dir=folder if not number else None, **common, **given)
                 for number, given in enumerate(wanted)]  # fmt: skip
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
        print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
        sys.stdin.readline()
    finally:  # a node that does not start leaves the processes of those before it
        cluster.shutdown()


if __name__ == "__main__":
    main()
