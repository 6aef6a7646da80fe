"""The most memory that a process and all below it held at once, sampled from outside."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

SAMPLE_S = 0.5


class PeakOfTree:
    """Sample a process tree while the block lasts: what each process holds alone, and the largest shared part once.

    The kernel's proportional sizes would be exact, and halve the speed of what is measured: reading them walks every
    page of a process under the lock that each large allocation needs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes = 0
        self.kind = "RSS, shared pages once"
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
        sizes = [_own_and_shared(process) for process in processes]
        return sum(own for own, _ in sizes) + max((shared for _, shared in sizes), default=0)


def _own_and_shared(process: psutil.Process) -> tuple[int, int]:
    """Return the bytes that a process holds alone and those that it may share."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0, 0
    shared = int(getattr(memory, "shared", 0))
    return int(memory.rss) - shared, shared
