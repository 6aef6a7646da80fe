"""Where engines run: on this machine, or one on each device of a Ray cluster (ray is imported late, no torch).

On a cluster an engine belongs to its node: should the node be lost, the engine is gone for good and its trials continue
on the other ones. Two engines on one device would only share its time and might not fit its memory.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trainables.errors import UserError

ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True)
class Node:
    """A machine of a Ray cluster: what Ray may give of it."""

    node_id: str
    name: str
    cores: int
    gpus: int = 0
    gpu_type: str = ""


@dataclass(frozen=True)
class EnginePlace:
    """Where one engine runs: its node, `cores` as threads of a CPU engine, and what its actor is started with."""

    node: Node
    cores: int
    options: dict[str, Any] = field(default_factory=dict)
    gpu_share: float = 0.0

    @property
    def speed(self) -> float:
        """Return how much of the work it is given beside others: by cores, or one like the other on GPUs."""
        return 1.0 if self.gpu_share else float(self.cores)


def here(count: int) -> list[EnginePlace]:
    """Return places for `count` engines that share the CPU of this machine."""
    node = Node("", "this machine", cores())
    return [EnginePlace(node, max(1, node.cores // count)) for _ in range(count)]


def places(nodes: Sequence[Node], device: str, jobs: int, per_gpu: int = 1) -> list[EnginePlace]:
    """Return a place per device of a cluster, as many as there are jobs at most, first one on each node.

    Raises UserError where no node has such a device.
    """
    if device == "cpu":
        fit = [EnginePlace(node, node.cores) for node in nodes if node.cores >= 1]
        if not fit:
            raise UserError("the Ray cluster has no CPU to give: start its nodes with --num-cpus")
        return [_bound(place) for place in fit[:jobs]]
    counts = _dealt([node.gpus * per_gpu for node in nodes], jobs)
    if not any(counts):
        raise UserError("a GPU was asked for and Ray finds none; give --device cpu to run on the CPU")
    rounds = [
        # Where a node has fewer engines than it could, each has the more of a GPU.
        [EnginePlace(node, node.cores, gpu_share=1 / math.ceil(count / node.gpus))] * count
        for node, count in zip(nodes, counts, strict=True)
        if count
    ]
    dealt = itertools.chain.from_iterable(itertools.zip_longest(*rounds))
    return [_bound(place) for place in dealt if place is not None]


def _dealt(room: Sequence[int], count: int) -> list[int]:
    """Deal `count` out in turn to those that have room."""
    given = [0] * len(room)
    while count > 0 and any(have < most for have, most in zip(given, room, strict=True)):
        for number, most in enumerate(room):
            if given[number] < most and count > 0:
                given[number] += 1
                count -= 1
    return given


def _bound(place: EnginePlace) -> EnginePlace:
    """Bind an engine's actor to its node; one of our own Ray has but one."""
    options: dict[str, Any] = {"num_gpus": place.gpu_share} if place.gpu_share else {}
    if place.node.node_id:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(place.node.node_id, soft=False)
    return replace(place, options=options)


def cluster_nodes() -> list[Node]:
    """Return the nodes that are alive, the driver's own first."""
    import ray

    mine = ray.get_runtime_context().get_node_id()
    alive = [node_of(entry) for entry in ray.nodes() if entry["Alive"]]
    return sorted(alive, key=lambda node: (node.node_id != mine, node.name, node.node_id))


def node_of(entry: Mapping[str, Any]) -> Node:
    """Return a node as Ray describes it."""
    resources: Mapping[str, float] = entry["Resources"]
    kind = next((key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR)), "")
    address, host = entry["NodeManagerAddress"], entry["NodeManagerHostname"]
    name = address if host in ("", address) else f"{host} ({address})"
    return Node(entry["NodeID"], name, int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), kind)


def placement_sentences(placed: Sequence[EnginePlace], nodes: Sequence[Node], device: str) -> list[str]:
    """Say which engines run on which nodes of a cluster, in what these differ, and which nodes have none."""
    used = list(dict.fromkeys(place.node for place in placed))
    listed = ", ".join(_described(node, sum(place.node == node for place in placed), device) for node in used)
    found = [f"Ray cluster: {_count(len(placed), 'engine')} on {_count(len(used), 'node')}: {listed}"]
    kinds = {node.gpu_type if device != "cpu" else f"{node.cores}" for node in used}
    if len(kinds) > 1:
        what = "GPUs" if device != "cpu" else "numbers of cores"
        found.append(f"the nodes have different {what}: faster ones are given more trials, times are not comparable")
        if device != "cpu":
            found[-1] = f"the nodes have different {what}: the precision is that of this machine's, times differ"
    idle = [node.name for node in nodes if node not in used]
    if idle:
        found.append(f"without an engine: {', '.join(idle)} ({_reason(nodes, used, device)})")
    if device == "cpu" and any(node.gpus for node in nodes):
        found.append("the cluster's GPUs are not used: trials run on the CPU (--device cuda uses them)")
    return found


def _described(node: Node, engines: int, device: str) -> str:
    what = _count(node.cores, "core") if device == "cpu" else _count(node.gpus, f"{node.gpu_type} GPU".strip())
    return f"{node.name} with {what}" + (f", {engines} engines" if engines > 1 else "")


def _reason(nodes: Iterable[Node], used: Sequence[Node], device: str) -> str:
    lacks = any(node not in used and not (node.cores if device == "cpu" else node.gpus) for node in nodes)
    return f"no {'CPU' if device == 'cpu' else 'GPU'} to give" if lacks else "fewer trials than devices"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
