"""Engines whose node is lost: who takes over their trials, and the thread of a launch that looks after it (no torch).

Ray calls a node lost some 14 s after it fell silent, and its engines do not come back: they belong to their devices.
What an engine of it may still do from beyond a broken network is fenced by a file that it looks for before the others
are given its trials.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.ray_driver.pack_order import spread_jobs
from sweep.ray_driver.placement import EnginePlace, cluster_nodes
from trainables.jobs import TrialJob
from trainables.records import atomic_files

LOOK_S = 2.0
SILENT_LOOKS = 12  # waits for a cluster that does not tell its nodes; Ray ends the process by itself after 60 s

Shares = dict[str, tuple[str, ...]]


def pass_on(
    shares: Shares, lost: Collection[str], open_jobs: Mapping[str, TrialJob], places: Mapping[str, EnginePlace]
) -> Shares:
    """Return the shares of the engines that are left, with what those of the lost ones have not finished.

    What is left to an engine stays its own, so that no trial ever runs in two.
    """
    left = [name for name in shares if name not in lost]
    orphans = [open_jobs[key] for name in shares if name in lost for key in shares[name] if key in open_jobs]
    parts = spread_jobs(orphans, [places[name].speed for name in left]) if left else []
    more = {name: tuple(Path(job.folder).name for job in part) for name, part in zip(left, parts, strict=True)}
    return {name: (*shares[name], *more[name]) for name in left}


def lost_path(folder: Path, engine: str) -> Path:
    """Return the file that says that an engine's node is lost."""
    return folder / "ray" / f"{engine}.lost"


class ClusterLook:
    """Which nodes a cluster has, asked in a thread of its own, since Ray may not return from it."""

    def __init__(self, ask: Callable[[], Collection[str]]) -> None:
        self.alive: Collection[str] | None = None  # ids of the nodes, None where Ray has not told them
        self._ask = ask
        self._over = threading.Event()
        threading.Thread(target=self._run, name="look", daemon=True).start()

    def is_over(self, wait_s: float | None = None) -> bool:
        return self._over.wait(wait_s)

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # Ray itself does not answer: the next look may tell more
            self.alive = self._ask()
        self._over.set()


@dataclass
class NodeWatcher:
    """Watches the nodes of a cluster; `engines` loses those that are gone.

    `open_jobs` returns the trials that are not finished, `say` takes a sentence.
    """

    folder: Path
    engines: dict[str, Any]
    places: Mapping[str, EnginePlace]
    shares: Shares
    open_jobs: Callable[[], Mapping[str, TrialJob]]
    say: Callable[[str], None]
    lost: set[str] = field(default_factory=set)
    end: str | None = None  # why nothing can go on, None while it can

    def watch(self, ended: threading.Event) -> None:
        """Look at the nodes until the launch has ended or nothing can go on."""
        self.follow(ended, _own_node(), lambda: {node.node_id for node in cluster_nodes()})

    def follow(
        self, ended: threading.Event, own: str, ask: Callable[[], Collection[str]], look_s: float = LOOK_S
    ) -> None:
        """Look by `ask`; the cluster is silent once `SILENT_LOOKS` waits in a row have brought no answer.

        Waits are counted, no clock is compared: this process may have been stopped for hours.
        """
        look, silent = None, 0
        while self.end is None and not ended.wait(0 if silent else look_s):
            look = look or self._begin(ask)
            if not look.is_over(look_s):
                silent += 1
            elif look.alive is None:
                look, silent = None, silent + 1
                ended.wait(look_s)
            else:
                self._judge(own, look.alive)
                look, silent = None, 0
            if silent >= SILENT_LOOKS:
                self.end = f"the Ray cluster has not answered for {SILENT_LOOKS * LOOK_S:.0f} s"
        if look is not None:
            look.is_over()  # whoever waits for this thread has to know that one is in Ray's core

    def _begin(self, ask: Callable[[], Collection[str]]) -> ClusterLook:
        if self.lost:
            for name, engine in list(self.engines.items()):
                engine.inherit.remote(self.shares[name])
        return ClusterLook(ask)

    def _judge(self, own: str, alive: Collection[str]) -> None:
        if own not in alive:
            self.end = "the Ray node that this command runs on is lost"
            return
        gone = {name for name in self.engines if self.places[name].node.node_id not in alive}
        if gone:
            self._lose(gone)
        if not self.engines:
            self.end = "every node with an engine is lost"

    def _lose(self, gone: set[str]) -> None:
        for name in gone:
            atomic_files.write_text(lost_path(self.folder, name), "the driver has given its trials to other engines\n")
            del self.engines[name]
        self.lost |= gone
        jobs = self.open_jobs()
        count = sum(key in jobs for name in gone for key in self.shares[name])
        self.shares = pass_on(self.shares, gone, jobs, self.places)
        nodes = ", ".join(dict.fromkeys(self.places[name].node.name for name in sorted(gone)))
        heirs = ", ".join(dict.fromkeys(self.places[name].node.name for name in self.engines))
        self.say(f"lost: {nodes}; {count} unfinished trials continue on {heirs or 'no other node'}")


def _own_node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
