"""What NVIDIA's management library says of GPUs, read from one that is pretended behind the package that calls it."""
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from benchmarks.memory import PeakOfTree
from sweep.environment.devices import Gpu, GpuMemory, find_gpus

GIB = 2**30
A100 = Gpu("NVIDIA A100", (8, 0), 80 * GIB, ("GPU-0",))


class Library:
    """Two GPUs of 80 GiB; the second may be cut in two MIG instances. A handle is the GPU's number, and a part's."""

    def __init__(self) -> None:
        self.used = [GIB, 2 * GIB]
        self.parts = 0
        self.may_ask_for_the_whole = True

    def nvmlInit(self) -> None:
        pass

    def nvmlShutdown(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> tuple[int, int]:
        if index > 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)  # the third is another user's
        return index, 0

    def nvmlDeviceGetName(self, handle: tuple[int, int]) -> str:
        return "NVIDIA A100 MIG 3g.40gb" if handle[1] else "NVIDIA A100"

    def nvmlDeviceGetUUID(self, handle: tuple[int, int]) -> str:
        return f"MIG-part{handle[1]}" if handle[1] else f"GPU-{handle[0]}"

    def nvmlDeviceGetMemoryInfo(self, handle: tuple[int, int]) -> Any:
        if handle[1]:
            return SimpleNamespace(total=40 * GIB, used=0)
        if handle[0] and not self.may_ask_for_the_whole:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return SimpleNamespace(total=80 * GIB, used=self.used[handle[0]])

    def nvmlDeviceGetCudaComputeCapability(self, handle: tuple[int, int]) -> list[int]:
        return [8, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: tuple[int, int]) -> int:
        if not handle[0]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: tuple[int, int], index: int) -> tuple[int, int]:
        if index >= self.parts:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return handle[0], index + 1

    def nvmlDeviceGetGpuInstanceId(self, handle: tuple[int, int]) -> int:
        return handle[1]

    def nvmlDeviceGetComputeInstanceId(self, handle: tuple[int, int]) -> int:
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    pretended = Library()
    for name in dir(pretended):
        if name.startswith("nvml"):
            monkeypatch.setattr(pynvml, name, getattr(pretended, name))
    find_gpus.cache_clear()
    yield pretended
    find_gpus.cache_clear()


def test_gpus_are_found_with_their_memory(library: Library) -> None:
    assert find_gpus() == (A100, Gpu("NVIDIA A100", (8, 0), 80 * GIB, ("GPU-1",)))


@pytest.mark.parametrize("may_ask_for_the_whole", [True, False])
def test_the_instances_of_a_gpu_have_their_own_names_and_memory(library: Library, may_ask_for_the_whole: bool) -> None:
    library.parts, library.may_ask_for_the_whole = 2, may_ask_for_the_whole
    first, second = find_gpus()
    assert first == A100
    assert second.memory_bytes == 80 * GIB
    assert second.instances == (
        Gpu("NVIDIA A100 MIG 3g.40gb", (8, 0), 40 * GIB, ("MIG-part1", "MIG-GPU-1/1/0")),
        Gpu("NVIDIA A100 MIG 3g.40gb", (8, 0), 40 * GIB, ("MIG-part2", "MIG-GPU-1/2/0")),
    )


def test_memory_in_use_is_that_of_all_gpus(library: Library) -> None:
    assert GpuMemory().used_bytes() == 3 * GIB


def test_without_the_driver_nothing_is_said_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", absent)
    with pytest.raises(pynvml.NVMLError_LibraryNotFound):
        pynvml.nvmlInit()
    find_gpus.cache_clear()
    assert find_gpus() == ()
    find_gpus.cache_clear()
    assert GpuMemory().used_bytes() is None
    with PeakOfTree(1) as peak:
        pass
    assert peak.gpu_bytes is None


def test_the_peak_on_gpus_is_what_was_added_while_it_lasted(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([GIB, 5 * GIB, 4 * GIB])

    def used(handle: tuple[int, int]) -> Any:
        return SimpleNamespace(used=next(looks, GIB) if handle[0] == 0 else 2 * GIB)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", used)
    peak = PeakOfTree(1)
    rounds = iter([False, False, True])
    monkeypatch.setattr(peak._done, "wait", lambda seconds: next(rounds))
    peak._sample()
    assert peak.gpu_bytes == 4 * GIB
