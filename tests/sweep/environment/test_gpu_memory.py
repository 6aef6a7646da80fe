"""What NVIDIA's management library says of GPUs, read from one that is pretended: calls and structures are its own."""
# ruff: noqa: N802

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from benchmarks.memory import PeakOfTree
from sweep.environment import devices
from sweep.environment.devices import Gpu, GpuMemory, find_gpus

GIB = 2**30


class Library:
    """Two GPUs of 80 GiB by the interface of libnvidia-ml; the first one's memory in use is what a test says."""

    def __init__(self) -> None:
        self.used = [GIB, 2 * GIB]

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 3
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        handle._obj.value = index + 1
        return 0 if index < 2 else 3  # the third is another user's

    def nvmlDeviceGetName(self, handle: ctypes.c_void_p, name: Any, size: int) -> int:
        name.value = b"NVIDIA A100"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: ctypes.c_void_p, memory: Any) -> int:
        memory._obj.total, memory._obj.used = 80 * GIB, self.used[(handle.value or 0) - 1]
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: ctypes.c_void_p, major: Any, minor: Any) -> int:
        major._obj.value, minor._obj.value = 8, 0
        return 0


def test_gpus_are_found_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: Library())
    find_gpus.cache_clear()
    try:
        assert find_gpus() == (Gpu("NVIDIA A100", (8, 0), 80 * GIB),) * 2
    finally:
        find_gpus.cache_clear()


def test_memory_in_use_is_that_of_all_gpus() -> None:
    assert GpuMemory(Library()).used_bytes() == 3 * GIB


def test_without_the_library_nothing_is_said_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(devices.ctypes, "CDLL", absent)
    assert GpuMemory().used_bytes() is None
    with PeakOfTree(1) as peak:
        pass
    assert peak.gpu_bytes is None


def test_the_peak_on_gpus_is_what_was_added_while_it_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    looks = iter([GIB, 5 * GIB, 4 * GIB])

    def used(handle: Any, memory: Any) -> int:
        memory._obj.used = next(looks, GIB) if handle.value == 1 else 2 * GIB
        return 0

    monkeypatch.setattr(library, "nvmlDeviceGetMemoryInfo", used)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: library)
    peak = PeakOfTree(1)
    rounds = iter([False, False, True])
    monkeypatch.setattr(peak._done, "wait", lambda seconds: next(rounds))
    peak._sample()
    assert peak.gpu_bytes == 4 * GIB
