"""What a sweep computes on, found without loading torch: NVIDIA's management library says what torch would."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.errors import UserError, one_of
from trainables.hardware import machine
from trainables.model_files import layer_shapes

GAINS_BY_BF16 = 20_000_000  # parameters; below, casting costs a CPU what its products gain (docs/decisions/0032)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU; memory in bytes."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True)
class Device:
    """What trials run on: `kind` is "cpu" or "cuda"."""

    kind: str
    gpus: tuple[Gpu, ...] = ()
    cores: int = 1

    @property
    def sentence(self) -> str:
        """The first line of every run."""
        if self.kind == "cpu":
            return f"device: CPU, {self.cores} cores"
        names = ", ".join(f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in self.gpus)
        return f"device: {len(self.gpus)} GPU{'s' if len(self.gpus) > 1 else ''}, {names}"


def resolve_device(asked: str, needs_gpu: bool, experiment: str) -> Device:
    """Return the device to use; raises UserError for a GPU that is not there, or needed and not insisted against."""
    one_of("--device", asked, ("auto", "cpu", "cuda"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus, reason = usable_gpus() if asked != "cpu" else ((), "")
    if gpus:
        return Device("cuda", gpus, cores)
    if asked == "cuda":
        raise UserError(f"--device 'cuda' is not possible: {reason}; use --device cpu")
    if needs_gpu and asked == "auto":
        raise UserError(f"experiment {experiment!r} needs a GPU and {reason}; --device cpu insists on the CPU")
    return Device("cpu", (), cores)


def resolve_precision(device: Device, folders: Iterable[str]) -> str:
    """Return what `precision="auto"` means for the models in `folders`.

    On a GPU bf16 from compute capability 8.0 and fp16 below it (torch.cuda.is_bf16_supported() is no guide: it is true
    on a T4, by emulation). On a CPU bf16 where the processor has instructions for it and a model is large enough to
    gain, else fp32.
    """
    if device.kind == "cpu":
        gains = machine.multiplies_bf16() and any(
            layer_shapes.total_parameters(one) >= GAINS_BY_BF16 for one in folders
        )
        return "bf16" if gains else "fp32"
    return "bf16" if min(gpu.capability for gpu in device.gpus) >= (8, 0) else "fp16"


def usable_gpus() -> tuple[tuple[Gpu, ...], str]:
    """Return the GPUs that torch could use, and the reason where there are none."""
    gpus = find_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not gpus:
        return (), "no NVIDIA GPU was found"
    if not torch_has_cuda():
        return (), "the installed torch was built without CUDA"
    if visible is None:
        return gpus, ""
    return tuple(_visible(gpus, visible)), f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU"


def _visible(gpus: Sequence[Gpu], visible: str) -> Iterator[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves; CUDA reads it up to the first entry that names none."""
    for part in (part.strip() for part in visible.split(",")):
        if part.isdigit() and int(part) < len(gpus):
            yield gpus[int(part)]
        elif part.startswith(("GPU-", "MIG-")):
            yield gpus[0]
        else:
            return


def torch_has_cuda() -> bool:
    """Tell whether torch was built with CUDA, from the text of its version file."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return False
    version = Path(spec.submodule_search_locations[0]) / "version.py"
    match = re.search(r"^cuda\b[^=]*=\s*(.+)$", version.read_text(encoding="utf-8"), re.MULTILINE)
    return match is not None and match.group(1).strip() != "None"


@lru_cache(maxsize=1)
def find_gpus() -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs of this machine, none where its driver is absent."""
    with contextlib.suppress(OSError, AttributeError):
        return tuple(_from_nvml(ctypes.CDLL("libnvidia-ml.so.1")))
    return ()


class GpuMemory:
    """The memory in use on all NVIDIA GPUs of this machine, whoever uses it; `library`: NVML, found where None."""

    def __init__(self, library: Any = None) -> None:
        self.library = library
        if library is None:
            with contextlib.suppress(OSError):
                self.library = ctypes.CDLL("libnvidia-ml.so.1")
        if self.library is not None and self.library.nvmlInit_v2() != 0:
            self.library = None

    def used_bytes(self) -> int | None:
        """Return the bytes in use, None where there is no such GPU."""
        if self.library is None:
            return None
        return sum(int(_memory_of(self.library, handle).used) for handle in _handles(self.library))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _from_nvml(library: Any) -> Iterator[Gpu]:
    if library.nvmlInit_v2() != 0:
        return
    for handle in _handles(library):
        name, major, minor = ctypes.create_string_buffer(96), ctypes.c_int(), ctypes.c_int()
        library.nvmlDeviceGetName(handle, name, 96)
        library.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
        yield Gpu(name.value.decode(), (major.value, minor.value), int(_memory_of(library, handle).total))
    library.nvmlShutdown()


def _handles(library: Any) -> Iterator[ctypes.c_void_p]:
    count = ctypes.c_uint()
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) == 0:
            yield handle


def _memory_of(library: Any, handle: ctypes.c_void_p) -> _Memory:
    memory = _Memory()
    library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    return memory
