"""A GPU that is not there: tensors of the CPU say that they are on it, and what mixes devices fails as on a real one.

A tensor's storage is noted as being on the GPU; its numbers are a CPU's, and so is autograd. Python's calls are watched
for devices asked for (`device="cuda"`, `.to`, `.device`, generators), and torch's operators for tensors that meet. What
operators make on their own, as backward passes do, belongs to neither device until it meets one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
TOTAL_BYTES, USED_BYTES = 8 * 2**30, 2**28
CROSSING = ("copy_", "_to_copy", "_foreach_copy_")  # operators that take tensors of both devices
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")  # indices may be on the CPU
# A GPU's operators take a single number of the CPU, but for these.
NO_NUMBERS = ("cat", "stack", "mm", "bmm", "addmm", "embedding", "index_select", "gather", "scatter", "scatter_")
NO_NUMBERS += ("_fused_adamw_", "index_add_", "_amp_foreach_non_finite_check_and_unscale_")
TO_PYTHON = ("numpy", "__array__")  # of a GPU's tensor they fail
GROUPS = "_group_tensors_by_device_and_dtype"  # what optimizers sort their tensors with, in C++
ASKED: dict[str, Callable[[torch.device], Any]] = {
    "is_cuda": lambda device: device == GPU,
    "is_cpu": lambda device: device == CPU,
    "device": lambda device: device,
}


class DevicesMixed(RuntimeError):
    """Tensors of both devices met where a GPU would not have it."""


class Places:
    """Which storages are where; those that nothing is known of are nowhere."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, torch.device]] = {}  # a weak reference keeps its number from reuse
        self.capturing: int | None = None  # the thread whose kernels a graph is capturing
        self.aside: int | None = None  # the thread that is on a stream of its own
        self.stream: Any = None  # which
        self.pools: dict[Any, Any] = {}  # of graphs, and the stream that their memory is given to
        self.broken = False  # the capture under way

    def refuse_in_capture(self, what: str) -> None:
        """Raise what a GPU raises for what waits for it, or copies from memory of the host, while it captures."""
        if self.capturing == threading.get_ident():
            self.broken = True
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {what}")

    def of(self, tensor: Tensor) -> torch.device | None:
        if tensor.device != CPU:
            return tensor.device
        found = self._known.get(tensor.untyped_storage()._cdata)
        return found[1] if found else None

    def put(self, tensor: Tensor, device: torch.device) -> None:
        if tensor.device == CPU:
            storage = tensor.untyped_storage()
            self._known[storage._cdata] = (StorageWeakRef(storage), device)
        if len(self._known) > 50_000:
            self._known = {key: one for key, one in list(self._known.items()) if not one[0].expired()}


class Operators(TorchDispatchMode):
    """Watches which tensors meet in an operator, and says where its results are."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        device = self._meeting(name, args, kwargs or {})
        if name == "_local_scalar_dense" and device == GPU:
            self.places.refuse_in_capture(name)
        out = func(*args, **(kwargs or {}))
        if device is not None:
            for one in _tensors(out):
                if self.places.of(one) is None:
                    self.places.put(one, device)
        return out

    def _meeting(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> torch.device | None:
        """Return where the tensors of a call are, None for nowhere; raises DevicesMixed."""
        if name in CROSSING:
            return self.places.of(_tensors(args)[0])
        indices = _tensors(args[1]) if name in INDEXING else []
        tensors = _tensors((args, dict(kwargs)))
        found = {self.places.of(one) for one in tensors if not any(one is index for index in indices)}
        if indices and GPU not in found and any(self.places.of(index) == GPU for index in indices):
            raise DevicesMixed(f"{name}: indices on the GPU of a tensor on the CPU")
        if found >= {GPU, CPU}:
            lone = [one for one in tensors if self.places.of(one) == CPU and (one.dim() or name in NO_NUMBERS)]
            lone = [one for one in lone if not any(one is index for index in indices)]
            if lone:
                raise DevicesMixed(f"{name}: all tensors must be on the same device: {self._described(tensors)}")
        return GPU if GPU in found else CPU if CPU in found else None

    def _described(self, tensors: list[Tensor]) -> str:
        return ", ".join(f"{tuple(one.shape)} on {self.places.of(one)}" for one in tensors)


class Calls(TorchFunctionMode):
    """Answers what Python asks about devices, and makes on the CPU what is asked for on the GPU."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        asked = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__" and asked in ASKED:
            return ASKED[asked](self.places.of(args[0]) or CPU)
        if name in TO_PYTHON and self.places.of(args[0]) == GPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        if name in ("to", "cuda", "cpu") and args and isinstance(args[0], Tensor):
            return self._moved(name, args, kwargs)
        if func is Tensor.backward:
            # A GPU's backward pass runs in a thread of autograd's own; what is recomputed there is watched too.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(torch.autograd.backward, args[0], kwargs.get("gradient")).result()
        if isinstance(kwargs.get("generator"), PretendGenerator):
            self._check_generator(name, args, kwargs)
        wanted = kwargs.get("device")
        if wanted is not None:
            wanted = _real(wanted)
            kwargs["device"] = CPU if wanted == GPU else wanted
        if func is torch.tensor and wanted == GPU:
            self.places.refuse_in_capture(name)
        out = func(*args, **kwargs)
        self._note(name, out, wanted)
        return out

    def _note(self, name: str, out: Any, wanted: torch.device | None) -> None:
        for one in _tensors(out):
            if wanted is not None:
                self.places.put(one, wanted)
            elif self.places.of(one) is None and name != "__get__":
                self.places.put(one, CPU)

    def _moved(self, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """Return the tensor on the device asked for: itself where it is there, else a copy."""
        tensor: Tensor = args[0]
        before = self.places.of(tensor) or CPU
        if name == "to":
            target, options = self._target(args[1:], kwargs)
        else:
            target, options = (GPU if name == "cuda" else CPU), {}
        if target is None or before.type == "meta" or target.type == "meta":
            return tensor.to(*args[1:], **kwargs) if name == "to" else getattr(tensor, name)()
        if before != target:
            self.places.refuse_in_capture(name)
        options["copy"] = options.get("copy", False) or before != target
        out = tensor.to(CPU, **options)
        if out is not tensor:
            self.places.put(out, target)
        return out

    def _target(self, args: Any, kwargs: dict[str, Any]) -> tuple[torch.device | None, dict[str, Any]]:
        """Return the device of the arguments of `Tensor.to`, and what else they ask for."""
        options = {key: kwargs[key] for key in ("copy", "dtype", "non_blocking") if kwargs.get(key) is not None}
        target = _real(kwargs["device"]) if kwargs.get("device") is not None else None
        for one in args:
            if isinstance(one, Tensor):
                target, options["dtype"] = self.places.of(one) or CPU, one.dtype
            elif isinstance(one, torch.dtype):
                options["dtype"] = one
            elif isinstance(one, str | torch.device) or type(one) is int:
                target = _real(one)
        return target, options

    def _check_generator(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Raise where a generator is of another device than what it is to fill."""
        there = [self.places.of(one) or CPU for one in _tensors(args)]
        device = _real(kwargs["device"]) if kwargs.get("device") is not None else (there or [CPU])[0]
        mine = kwargs["generator"].device
        if device.type != mine.type:
            raise DevicesMixed(f"{name}: expected a {device.type!r} generator, found one of {mine.type!r}")


class PretendGenerator(torch.Generator):
    """A generator of the CPU that says it is of the device it was asked for."""

    def __new__(cls, device: Any = "cpu") -> PretendGenerator:
        made: PretendGenerator = super().__new__(cls, "cpu")
        made._where = _real(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._where


class PretendGraph(TorchDispatchMode):
    """A CUDA graph: operators captured once are replayed into the same memory, whatever Python would do meanwhile."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()  # storages of the capture, which `calls` keeps
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what was there before the capture, and its numbers

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for one in _tensors(args[place] if place < len(args) else kwargs.get(argument.name)):
                    storage = one.untyped_storage()
                    if storage._cdata not in self.made and storage._cdata not in self.before:
                        whole = torch.empty(0, dtype=one.dtype).set_(storage)
                        self.before[storage._cdata] = (whole, whole.clone())
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        given = {one.untyped_storage()._cdata for one in _tensors((args, kwargs))}
        self.made |= {one.untyped_storage()._cdata for one in _tensors(out)} - given
        return out

    def pool(self) -> tuple[int, int]:
        return self._pool

    def capture_begin(self, pool: tuple[int, int] | None = None, capture_error_mode: str = "global") -> None:
        """Capture operators from now on; as on a GPU, not on the default stream."""
        assert capture_error_mode == "thread_local"
        assert self.places.aside == threading.get_ident(), "cannot capture on the default stream"
        self._pool = pool or (0, len(self.places.pools))
        shared_with = self.places.pools.setdefault(self._pool, self.places.stream)
        assert shared_with is self.places.stream, "memory of a pool is given to the stream that it was made for alone"
        self.places.capturing = threading.get_ident()
        self.__enter__()

    def capture_end(self) -> None:
        """Undo what was written, for a capture runs nothing; raise where something could not be captured."""
        self.__exit__(None, None, None)
        self.places.capturing = None
        for there, numbers in self.before.values():
            there.copy_(numbers)
        broken, self.places.broken = self.places.broken, False
        if broken:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, out in self.calls:
            for new, old in zip(_tensors(func(*args, **kwargs)), _tensors(out), strict=True):
                if new.untyped_storage()._cdata != old.untyped_storage()._cdata:
                    old.copy_(new)


@contextmanager
def pretend_gpu() -> Iterator[Places]:
    """Have one GPU in this block, in every thread that begins in it."""
    places = Places()
    run = threading.Thread.run

    def run_watched(thread: threading.Thread) -> None:
        with Calls(places), Operators(places):
            run(thread)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(threading.Thread, "run", run_watched))
        stack.enter_context(mock.patch.object(torch, "Generator", PretendGenerator))
        stack.enter_context(mock.patch.object(torch, "autocast", _autocast))
        stack.enter_context(mock.patch.object(optimizer, GROUPS, partial(_by_device, places)))
        for name, answer in _answers().items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        stack.enter_context(mock.patch.object(torch.cuda, "CUDAGraph", partial(PretendGraph, places)))
        stack.enter_context(mock.patch.object(torch.cuda, "stream", partial(_on_stream, places)))
        stack.enter_context(Calls(places))
        stack.enter_context(Operators(places))
        yield places


def _answers() -> dict[str, Callable[..., Any]]:
    """Return what `torch.cuda` answers, each of a device as it takes it."""
    properties = SimpleNamespace(name="Pretended", total_memory=TOTAL_BYTES, major=9, minor=0)
    answers = {
        "mem_get_info": (TOTAL_BYTES - USED_BYTES, TOTAL_BYTES),
        "memory_reserved": USED_BYTES,
        "memory_allocated": USED_BYTES,
        "max_memory_allocated": USED_BYTES,
        "reset_peak_memory_stats": None,
        "synchronize": None,
        "set_device": None,
        "get_device_name": properties.name,
        "get_device_properties": properties,
        "get_device_capability": (9, 0),
        "current_stream": SimpleNamespace(wait_stream=lambda other: None),
    }

    def of_a_device(answer: Any) -> Callable[..., Any]:
        def called(device: Any = None) -> Any:
            assert device is None or _real(device) == GPU, device
            return answer

        return called

    def set_fraction(fraction: float, device: Any = None) -> None:
        assert isinstance(fraction, float), fraction
        assert 0 <= fraction <= 1, fraction
        assert device is None or torch.device(device).index is not None, "it takes no 'cuda' without a number"

    found: dict[str, Callable[..., Any]] = {name: of_a_device(answer) for name, answer in answers.items()}
    return found | {
        "is_available": lambda: True,
        "Stream": lambda device: SimpleNamespace(wait_stream=lambda other: None),
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "empty_cache": lambda: None,
        "set_per_process_memory_fraction": set_fraction,
        "get_rng_state": lambda device="cuda": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device="cuda": None,
    }


@contextmanager
def _on_stream(places: Places, stream: Any) -> Iterator[None]:
    places.aside, places.stream = threading.get_ident(), stream
    try:
        yield
    finally:
        places.aside = None


def _by_device(places: Places, lists: Any, with_indices: bool = False) -> dict[Any, Any]:
    """Return an optimizer's tensors by where they pretend to be; tests have them all on one device."""
    groups = getattr(torch.utils._foreach_utils, GROUPS)(lists, with_indices)
    return {(places.of(found[0][0][0]) or CPU, dtype): found for (_, dtype), found in groups.items()}


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
    """Return a CPU's automatic casts, for the numbers are a CPU's."""
    return torch.amp.autocast("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def _real(device: Any) -> torch.device:
    """Return a device with its number: "cuda" is the first GPU."""
    found = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return GPU if found.type == "cuda" and found.index in (None, 0) else found


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]
