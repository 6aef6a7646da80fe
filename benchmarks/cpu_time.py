"""The processor time of a process and all that it started, sampled from outside."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

SAMPLE_S = 0.5


class CpuOfTree:
    """Sum what each process below `pid` used by the last sample that saw it, those that have ended included.

    What a process uses in its last half second is not seen, nor one that lives for less than that.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._used_s: dict[tuple[int, float], float] = {}
        self._names: dict[tuple[int, float], str] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="cpu-time", daemon=True)

    @property
    def seconds(self) -> float:
        return sum(self._used_s.values())

    @property
    def by_name(self) -> dict[str, float]:
        """Return the seconds by what processes are called."""
        found: dict[str, float] = {}
        for key, seconds in self._used_s.items():
            found[self._names[key]] = found.get(self._names[key], 0.0) + seconds
        return found

    def __enter__(self) -> CpuOfTree:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.look()

    def look(self) -> None:
        """Note what every process of the tree has used until now."""
        try:
            root = psutil.Process(self.pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return
        for process in processes:
            try:
                times = process.cpu_times()
                key = process.pid, process.create_time()
                self._used_s[key] = times.user + times.system
                self._names[key] = process.name()  # a worker of Ray changes its own
            except psutil.Error:  # ended meanwhile
                continue
