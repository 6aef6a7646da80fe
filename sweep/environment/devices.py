"""What a sweep computes on, found without loading torch: NVIDIA's management library says what torch would."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.errors import UserError, one_of
from trainables.hardware import machine
from trainables.model_files import layer_shapes
from trainables.units import size

GAINS_BY_BF16 = 20_000_000  # parameters; below, casting costs a CPU what its products gain (docs/decisions/0032)


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, or one MIG instance of it; `uuids` are the names that CUDA_VISIBLE_DEVICES may give it."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int
    uuids: tuple[str, ...] = ()
    instances: tuple[Gpu, ...] = ()


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
        names = ", ".join(f"{gpu.name} ({size(gpu.memory_bytes)})" for gpu in self.gpus)
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
    return _visible(gpus, visible), f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU"


def _visible(gpus: Sequence[Gpu], visible: str) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves, as CUDA reads it (CUDA programming guide, MIG user guide).

    It is read up to the first entry that names none, and leaves none where an entry comes twice. A process sees one
    MIG instance at most, and beside it no other GPU.
    """
    found: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        gpu = _named(gpus, entry)
        if gpu is None:
            break
        if entry.startswith("MIG-"):
            return (gpu,)
        if any(gpu is one for one in found):
            return ()
        found.append(gpu)
    return tuple(found)


def _named(gpus: Sequence[Gpu], entry: str) -> Gpu | None:
    """Return the GPU of an index, a UUID or the beginning of one alone, or the MIG instance of a whole UUID."""
    if entry.isdigit():
        return gpus[int(entry)] if int(entry) < len(gpus) else None
    if entry.startswith("MIG-"):
        matching = [one for gpu in gpus for one in gpu.instances if entry in one.uuids]
    elif entry.startswith("GPU-"):
        matching = [gpu for gpu in gpus if any(uuid.startswith(entry) for uuid in gpu.uuids)]
    else:
        matching = []
    return matching[0] if len(matching) == 1 else None


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
    import pynvml

    found: list[Gpu] = []
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for handle in _handles():
            with contextlib.suppress(pynvml.NVMLError):  # of a GPU that fell off its bus
                found.append(_gpu(handle))
        pynvml.nvmlShutdown()
    return tuple(found)


class GpuMemory:
    """The memory in use on all NVIDIA GPUs of this machine, whoever uses it."""

    def __init__(self) -> None:
        import pynvml

        self.is_known = False
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self.is_known = True

    def used_bytes(self) -> int | None:
        """Return the bytes in use, None where there is no such GPU."""
        import pynvml

        if not self.is_known:
            return None
        return sum(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in _handles())


def _handles() -> list[Any]:
    """Return NVML's handles of the GPUs that this user may ask about."""
    import pynvml

    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(pynvml.NVMLError):
            found.append(pynvml.nvmlDeviceGetHandleByIndex(index))
    return found


def _gpu(handle: Any) -> Gpu:
    import pynvml

    uuid = pynvml.nvmlDeviceGetUUID(handle)
    capability = tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    instances = tuple(_instance(one, uuid, capability) for one in _mig_handles(handle))
    try:
        memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:  # of a GPU in MIG mode not everybody may ask
        memory_bytes = sum(one.memory_bytes for one in instances)
    return Gpu(pynvml.nvmlDeviceGetName(handle), capability, memory_bytes, (uuid,), instances)


def _mig_handles(handle: Any) -> list[Any]:
    """Return NVML's handles of the MIG instances of a GPU, none where it has none or cannot have any."""
    import pynvml

    found = []
    with contextlib.suppress(pynvml.NVMLError_NotSupported):
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(pynvml.NVMLError_NotFound):
                found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return found


def _instance(handle: Any, parent: str, capability: tuple[int, int]) -> Gpu:
    """Return a MIG instance, with the memory that is its own; drivers before R470 named it by its parent and places."""
    import pynvml

    places = f"{pynvml.nvmlDeviceGetGpuInstanceId(handle)}/{pynvml.nvmlDeviceGetComputeInstanceId(handle)}"
    uuids = (pynvml.nvmlDeviceGetUUID(handle), f"MIG-{parent}/{places}")
    memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Gpu(pynvml.nvmlDeviceGetName(handle), capability, memory_bytes, uuids)
