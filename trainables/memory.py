"""The most memory that a trial needed on its device."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


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
