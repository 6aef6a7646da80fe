"""Memory of a device: the most that was needed, what may be used, and what its end, or the device's, looks like."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import threading
import traceback
from pathlib import Path

import torch

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
# Held while a CUDA graph is captured: a thread that waits for the whole device meanwhile would break the capture.
capturing = threading.Lock()
# How libraries say it that raise neither torch's own error nor Python's; the last is oneDNN's, for a kernel.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a primitive",
)


def reset_peak_memory(device: str) -> None:
    """Start measuring anew; without that right on a CPU the peak is the whole process's so far."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        CLEAR.write_text("5")  # resets the high-water mark of the resident set
    except OSError:
        return


def peak_memory_bytes(device: str) -> int:
    """Return the most bytes since the last reset: allocated on the GPU, or resident in this process."""
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated())
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def memory_in_use_bytes(device: str) -> int:
    """Return the bytes in use now: allocated on the GPU, or resident in this process."""
    if device != "cpu":
        return int(torch.cuda.memory_allocated())
    try:
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return peak_memory_bytes(device)


def limit_memory(device: str, most_bytes: int | None) -> None:
    """Let torch allocate no more than this on a GPU; a CPU has no such limit: there the pack's size keeps to it."""
    if device != "cpu" and most_bytes is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, most_bytes / total))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory has run out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def is_lost(device: str) -> bool:
    """Tell whether a fault has left a GPU of no use to this process.

    After one, such as an index out of range in a kernel, every call of CUDA fails until the process ends.
    """
    if device == "cpu":
        return False
    try:
        with capturing:
            torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def give_back(device: str, error: BaseException | None = None) -> None:
    """Return memory that is not in use, and what the frames of a caught error still hold, to the device."""
    if error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
