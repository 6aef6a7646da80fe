"""One new token of rows over a static cache, replayed as a CUDA graph where that pays.

A token of a small model is a few hundred kernels of microseconds, and starting them takes Python longer than running
them. The library's `generate` stays: while it runs, the model's `forward` is this module's. The first token is computed
in the plain way, the second is captured, the others are replays; what changes between them (tokens, positions, lengths)
is in tensors that are changed in place. https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/

A capture that fails leaves torch's allocator in a state of its own, so what cannot be captured is found out before: at
load a token is computed under a `SyncDetector` for what waits for the GPU.

Shapes: R rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.cache_utils import DynamicCache

from trainables.hardware.device_memory import capturing
from trainables.kv_cache.static import StaticLayer
from trainables.modeling.base_model import LoadedBase, forwarding, unwrapped

WAITS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim")
COPIES = ("_to_copy", "copy_")
MAKES = ("tensor", "as_tensor", "new_tensor")


class TokenStep:
    """The forward pass of one token a row, in place of the model's own while texts are written."""

    def __init__(self, base: LoadedBase, in_graph: bool) -> None:
        self.base = base
        self.forward = unwrapped(base.model).forward  # which `generate` calls
        functools.update_wrapper(self, self.forward)  # `generate` asks for its signature
        self.in_graph = in_graph
        self.is_warm = False
        self.graph: Any = None

    def __call__(self, input_ids: Tensor, position_ids: Tensor, past_key_values: DynamicCache, **others: Any) -> Any:
        """Return the output of the model for tokens (R, 1); the cache knows what each row attends to."""
        if self.in_graph and self.is_warm and self.graph is None:
            self._capture(input_ids, position_ids, past_key_values)
        if self.graph is None:
            self.is_warm = True
            return self._plain(input_ids, position_ids, past_key_values)
        self.ids_R1.copy_(input_ids)
        self.positions_R1.copy_(position_ids)
        for layer in past_key_values.layers:
            layer.count()
        self.graph.replay()
        return self.output

    def _plain(self, ids_R1: Tensor, positions_R1: Tensor, cache: DynamicCache) -> Any:
        return self.forward(
            input_ids=ids_R1, position_ids=positions_R1, past_key_values=cache, use_cache=True, return_dict=True
        )

    def _capture(self, ids_R1: Tensor, positions_R1: Tensor, cache: DynamicCache) -> None:
        """Capture the next token's kernels, which does not run them; where it fails the plain way goes on."""
        seen = cache.get_seq_length()
        self.ids_R1, self.positions_R1 = ids_R1.clone(), positions_R1.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            with capturing, captured(graph, ids_R1.device):
                self.output = self._plain(self.ids_R1, self.positions_R1, cache)
            self.graph = graph
        except Exception as error:
            keep_failed(graph)
            self.in_graph = False
            self.base.refuse("token_graphs", f"a capture failed: {type(error).__name__}: {error}".splitlines()[0])
        finally:
            _set_seen(cache, seen)


_failed: list[Any] = []


def keep_failed(graph: Any) -> None:
    """Keep a graph whose capture failed, for the allocator may still ask it: one for a model, which tries no more."""
    _failed.append(graph)


@contextmanager
def captured(graph: Any, device: torch.device, pool: Any = None, aside: Any = None) -> Iterator[None]:
    """Capture this block's kernels on a stream of its own, which is left again also where the capture fails.

    `pool`: of a graph whose memory this one may use, since they are never replayed at the same time; both captures
    must then be on the stream `aside`, for a stream is given only what was its own before.

    `torch.cuda.graph` would stay on its stream then, and would return the allocator's memory at every batch.
    """
    here, aside = torch.cuda.current_stream(device), aside or torch.cuda.Stream(device)
    torch.cuda.synchronize(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        # Other threads may copy a checkpoint meanwhile: that is no fault of this one.
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            yield
        finally:
            graph.capture_end()
    here.wait_stream(aside)


def _set_seen(cache: DynamicCache, seen: int) -> None:
    for layer in cache.layers:
        assert isinstance(layer, StaticLayer)
        layer.seen = seen


@contextmanager
def token_steps(base: LoadedBase, cache: Any, in_graph: bool) -> Iterator[TokenStep | None]:
    """Have a base compute tokens by `TokenStep` in this block, where the cache is a static one."""
    if not isinstance(cache, DynamicCache) or not isinstance(cache.layers[0], StaticLayer):
        yield None
        return
    step = TokenStep(base, in_graph)
    with forwarding(unwrapped(base.model), step):
        yield step


class SyncDetector(TorchDispatchMode):
    """Raises, in this thread, for operations that wait for the GPU or copy to or from it: no graph captures them."""

    def __enter__(self) -> SyncDetector:
        self.makes = HostCopyDetector()
        self.makes.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.makes.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, Tensor)]
        crosses = name in COPIES and len({one.device.type for one in tensors}) > 1
        chooses = name.startswith("index") and any(one.dtype in (torch.bool, torch.uint8) for one in _indices(args))
        if name in WAITS or crosses or chooses:
            raise RuntimeError(f"{name} waits for the GPU")
        return out


class HostCopyDetector(TorchFunctionMode):
    """Raises where a tensor on the GPU is made from numbers of Python, which no operator of torch shows."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in MAKES and out.device.type != "cpu":
            raise RuntimeError(f"{func.__name__} copies to the GPU")
        return out


def _indices(args: Any) -> list[Tensor]:
    return [one for one in tree_leaves(args[1:2]) if isinstance(one, Tensor)]
