"""The most memory that a process and all below it held at once, and the GPUs with it, sampled from outside."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

from sweep.environment.devices import GpuMemory

SAMPLE_S = 0.5
SAMPLED = f"sampled every {SAMPLE_S} s"


class PeakOfTree:
    """Sample a process tree while the block lasts: what each process holds alone, and the largest shared part once.

    The kernel's proportional sizes would be exact, and halve the speed of what is measured: reading them walks every
    page of a process under the lock that each large allocation needs. Of GPUs it is what all processes hold more than
    at the beginning, since a container sees no other's processes: nobody else may begin meanwhile.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.bytes = 0
        self.gpu_bytes: int | None = None
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
        gpus = GpuMemory()
        before = gpus.used_bytes()
        while not self._done.wait(SAMPLE_S):
            self.bytes = max(self.bytes, self._now())
            if before is not None:
                self.gpu_bytes = max(self.gpu_bytes or 0, (gpus.used_bytes() or 0) - before)

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
