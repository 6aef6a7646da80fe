"""Sweeps on a Ray cluster of two real nodes on this machine: an engine on each, and what a kill of one costs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
import ray_nodes
from launches import wait
from small_sweep import output, result_of, start, states, title, write_sweep

from trainables.jobs import go_on, no_report
from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RATES = (5e-3, 2e-3, 1e-3)
SHORT = [{"max_steps": 0}, *({"max_steps": 8, "learning_rate": rate} for rate in RATES)]
LONG = [{"max_steps": 60, "learning_rate": rate, "eval_every_steps": 10} for rate in (*RATES, 5e-4)]
FOREVER = [{**fields, "max_steps": 100_000, "eval_every_steps": 50} for fields in LONG]
PATIENCE_S = 400


@pytest.fixture(scope="module")
def nodes() -> Iterator[ray_nodes.Nodes]:
    """Two nodes for all tests; the last one loses the second."""
    wanted = [{"num_cpus": 1}] * 2
    with ray_nodes.running(wanted, token_in_file=False) as found, mock.patch.dict(os.environ, found.environment):
        yield found


def drive(out: Path, trials: list[dict[str, Any]], nodes: ray_nodes.Nodes, **options: Any) -> subprocess.Popen[str]:
    return start(out, trials, engine="packed", address=nodes.address, preflight=False, **options)


def results(out: Path) -> list[dict[str, Any]]:
    """Return what must not depend on where trials ran: weights, losses, texts."""
    found = []
    for record in SweepFolder(out).records():
        result = record.result()
        texts = [read_lines(path) for path in sorted(record.folder.glob("evals/*/*.jsonl"))]
        losses = [row["eval_loss"] for row in record.metrics() if row["kind"] == "eval"]
        ended = (result.state, result.adapter_sha256) if result else None
        found.append({"texts": texts, "losses": losses, "ended": ended})
    return found


def on_one_engine(out: Path, trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of one engine, without Ray."""
    from trainables.packed.engine import PackedEngine

    _, jobs, setup = write_sweep(out, trials)
    engine = PackedEngine(setup)
    for job in jobs:
        engine.run(job, no_report, go_on)
    return results(out)


def engines(nodes: ray_nodes.Nodes) -> list[psutil.Process | None]:
    """Return the engine's process of each node, None where there is none."""
    return [next((one for one in children(raylet) if title(one).startswith("ray::EngineHost")), None)
            for raylet in nodes.raylets]  # fmt: skip


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def steps(out: Path) -> list[int]:
    return [sum(row["kind"] == "train" for row in record.metrics()) for record in SweepFolder(out).records()]


def test_every_node_has_an_engine_and_the_results_are_those_of_one(nodes: ray_nodes.Nodes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert drive(out, SHORT, nodes).wait(timeout=PATIENCE_S) == 0, output(out)
    lines = output(out).splitlines()
    assert lines[0] == "4 trials on the CPUs of a Ray cluster, engine packed"
    assert lines[1].startswith("Ray cluster: 2 engines on 2 nodes: ")
    mates = [set(result_of(record).packmates) for record in SweepFolder(out).records()]
    assert max(len(one) for one in mates) < len(SHORT) - 1, "one engine had all trials"
    assert list(out.glob(".probe*")) == []
    assert results(out) == on_one_engine(tmp_path / "alone", SHORT)


def test_a_killed_driver_takes_the_engines_of_all_nodes_along(nodes: ray_nodes.Nodes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = drive(out, FOREVER, nodes)
    wait(lambda: len(steps(out)) == len(FOREVER) and min(steps(out)) >= 12, process, out)
    both = [engine for engine in engines(nodes) if engine is not None]
    assert len(both) == 2
    process.kill()
    assert psutil.wait_procs(both, timeout=5)[1] == []


def test_a_killed_engine_and_a_lost_node_cost_no_result(nodes: ray_nodes.Nodes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = drive(out, LONG, nodes)
    wait(lambda: len(steps(out)) == len(LONG) and min(steps(out)) >= 12, process, out)
    first, second = engines(nodes)
    assert first is not None
    assert second is not None
    first.kill()  # comes back on its node
    psutil.Process(nodes.raylets[1]).kill()  # Ray lets its engine run on, which has to leave by itself
    assert psutil.wait_procs([second], timeout=5)[1] == []
    assert process.wait(timeout=PATIENCE_S) == 0, output(out)
    assert any(line.startswith("lost: ") for line in output(out).splitlines()), output(out)
    assert set(states(out).values()) == {"done"}
    assert [result_of(record).restarts for record in SweepFolder(out).records()] == [1] * len(LONG)
    assert results(out) == on_one_engine(tmp_path / "alone", LONG)
