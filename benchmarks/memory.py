"""The most memory that a process and all below it held at once, sampled from outside."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

SAMPLE_S = 1.0  # a look at gigabytes costs milliseconds of the machine that is being measured


class PeakOfTree:
    """Sample a process tree while the block lasts: proportional set sizes (shared pages count once), else resident."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes = 0
        self.kind = "PSS"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)

    def __enter__(self) -> PeakOfTree:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.bytes = max(self.bytes, self._now())

    def _now(self) -> int:
        try:
            root = psutil.Process(self.pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.Error:
            return 0
        return sum(self._of(process) for process in processes)

    def _of(self, process: psutil.Process) -> int:
        try:
            # Far cheaper than psutil's own sum over every mapping.
            with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as file:
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
        try:
            resident = int(process.memory_info().rss)
        except psutil.Error:
            return 0
        if resident:
            self.kind = "PSS, RSS where that is not told"
        return resident
