"""What this machine is and has: processor, memory, the user's cache folder (no torch)."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sys
from pathlib import Path

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# Set by tests: every branch that asks for a newer processor is taken as on one of AVX2 alone.
WITHOUT_AVX512 = "PACKSWEEP_WITHOUT_AVX512"
COMPILERS = ("cc", "gcc", "clang")


def processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.machine()


def instructions() -> str:
    """Return the names of the processor's instruction sets, as the system lists them; empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else ""


def multiplies_bf16() -> bool:
    """Tell whether the processor has instructions for products in bf16 (AVX512-BF16 or AMX)."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_usable_instructions())


def has_avx512() -> bool:
    """Tell whether the processor has the part of AVX-512 without which oneDNN lays out no weights in bf16."""
    return {"avx512bw", "avx512dq", "avx512vl"} <= _usable_instructions()


def _usable_instructions() -> set[str]:
    found = set(instructions().split())
    if os.environ.get(WITHOUT_AVX512):
        return {name for name in found if not name.startswith(("avx512", "amx"))}
    return found


def c_compiler() -> str | None:
    """Return the C compiler: the one in CC, or the first that is there."""
    found = (shutil.which(name) for name in (os.environ.get("CC", ""), *COMPILERS) if name)
    return next((path for path in found if path is not None), None)


def memory_bytes() -> int:
    """Return the memory that this process may have: the machine's, or what its container or a limit leaves of it."""
    import psutil

    total = min(int(psutil.virtual_memory().total), _limit_bytes())
    for path in CGROUP_LIMITS:
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # absent, or "max"
    return total


def is_limited() -> bool:
    """Tell whether `ulimit -v` or `-d` is set: then memory can be refused at any allocation."""
    return _limit_bytes() < sys.maxsize


def _limit_bytes() -> int:
    """Return what `ulimit -v` and `-d` leave of memory; they count what is reserved, used or not."""
    import psutil

    now, found = psutil.Process().memory_info(), sys.maxsize
    for name, counted in (("RLIMIT_AS", now.vms), ("RLIMIT_DATA", getattr(now, "data", now.vms))):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            found = min(found, limit - max(0, counted - now.rss))
    return max(0, found)


def cache_folder() -> Path:
    """Return the folder for what is worth keeping on this machine between sweeps; PACKSWEEP_CACHE names another."""
    own = os.environ.get("PACKSWEEP_CACHE")
    return Path(own or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/packsweep").expanduser()
