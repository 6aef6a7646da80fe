"""Engines whose node is lost: who takes over their trials, and the thread of a launch that looks after it (no torch).

Ray calls a node lost some 14 s after it fell silent, and its engines do not come back: they belong to their devices.
What an engine of it may still do from beyond a broken network is fenced by a file that it looks for before the others
are given its trials.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.packs import spread
from sweep.placement import Place, cluster_nodes
from trainables import files
from trainables.jobs import TrialJob

LOOK_S = 2.0
SILENT_S = 25.0  # of a cluster that does not tell its nodes any more; Ray ends the process by itself after 60 s

Shares = dict[str, tuple[str, ...]]


def pass_on(
    shares: Shares, lost: Collection[str], open_jobs: Mapping[str, TrialJob], places: Mapping[str, Place]
) -> Shares:
    """Return the shares of the engines that are left, with what those of the lost ones have not finished.

    What is left to an engine stays its own, so that no trial ever runs in two.
    """
    left = [name for name in shares if name not in lost]
    orphans = [open_jobs[key] for name in shares if name in lost for key in shares[name] if key in open_jobs]
    parts = spread(orphans, [places[name].speed for name in left]) if left else []
    more = {name: tuple(Path(job.folder).name for job in part) for name, part in zip(left, parts, strict=True)}
    return {name: (*shares[name], *more[name]) for name in left}


def lost_path(folder: Path, engine: str) -> Path:
    """Return the file that says that an engine's node is lost."""
    return folder / "ray" / f"{engine}.lost"


@dataclass
class Losses:
    """Watches the nodes of a cluster; `engines` loses those that are gone.

    `open_jobs` returns the trials that are not finished, `say` takes a sentence.
    """

    folder: Path
    engines: dict[str, Any]
    places: Mapping[str, Place]
    shares: Shares
    open_jobs: Callable[[], Mapping[str, TrialJob]]
    say: Callable[[str], None]
    lost: set[str] = field(default_factory=set)
    _end: str | None = None
    _answered: float = field(default_factory=time.monotonic)

    @property
    def end(self) -> str | None:
        """Say why nothing can go on, None while it can."""
        if self._end is None and time.monotonic() - self._answered > SILENT_S:
            return f"the Ray cluster has not answered for {SILENT_S:.0f} s"
        return self._end

    def watch(self, ended: threading.Event) -> None:
        """Look at the nodes until the launch has ended."""
        own = _own_node()
        while not ended.wait(LOOK_S):
            if self.lost:
                for name, engine in list(self.engines.items()):
                    engine.inherit.remote(self.shares[name])
            try:
                alive = {node.node_id for node in cluster_nodes()}
            except Exception:  # Ray itself does not answer: the next look may tell more
                continue
            self._answered = time.monotonic()
            if own not in alive:
                self._end = "the Ray node that this command runs on is lost"
                return
            gone = {name for name in self.engines if self.places[name].node.node_id not in alive}
            if gone:
                self._lose(gone)
            if not self.engines:
                self._end = "every node with an engine is lost"
                return

    def _lose(self, gone: set[str]) -> None:
        for name in gone:
            files.write_text(lost_path(self.folder, name), "the driver has given its trials to other engines\n")
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
