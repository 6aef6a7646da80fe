"""Training batches of several adapters, forward and backward, replayed as CUDA graphs where that pays.

A shared batch of eight adapters over a small model is a few thousand kernels of microseconds, and starting them takes
Python longer than running them. A batch of adapters, rows, tokens and completion tokens that has been met before is
captured, and from then on replayed: what changes between batches lies in tensors that are written anew (token ids,
positions, targets, and the dropout masks, which are drawn before). Weights and gradients are the adapters' own, so a
graph is of no use without them. https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/

Whether it pays is measured with the widths (see `probes`). A capture that fails leaves torch's allocator in a state of
its own, so what waits for the GPU, which no graph captures, is found out before (see `token_graph.SyncDetector`).

Shapes: R rows, T padded tokens, D inputs of a layer, N completion tokens, as in `multi_batch`; K adapters.
"""

from __future__ import annotations

import traceback
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.decoding.token_graph import captured, keep_failed
from trainables.hardware.device_memory import capturing, give_back, is_out_of_memory
from trainables.modeling.multi_lora import PackedBase
from trainables.packed.adapter_optimizer import AdapterOptimizer
from trainables.packed.multi_batch import SharedBatch, forward_backward

MOST = 16  # graphs of one base; those used last stay
MOST_MET = 128  # batches that were met, most of them once

Key = tuple[tuple[int, ...], tuple[int, ...], int, int]  # optimizers and their rows, tokens, completion tokens


@dataclass(frozen=True)
class StepGraph:
    """A batch captured as a CUDA graph, the tensors that it reads and the losses that it leaves."""

    graph: Any
    shared: SharedBatch
    masks: Sequence[dict[str, Tensor]]  # of each adapter, by layer
    losses_K: Tensor

    def replay(self, optimizers: Sequence[AdapterOptimizer], shared: SharedBatch) -> Tensor:
        """Return the losses (K,) of this batch, and add to the gradients."""
        _fill(optimizers, self.masks)
        self.shared.copy_(shared)  # waits for the batch before: the masks are drawn meanwhile
        self.graph.replay()
        return self.losses_K.clone()


class StepGraphs:
    """The graphs of one base, and which batches have been met before; used by the device's thread alone.

    `watch`: sees each batch that is met for the first time.
    """

    def __init__(self, watch: AbstractContextManager[Any] | None = None) -> None:
        self.watch = watch or nullcontext()
        self._met: OrderedDict[Key, tuple[list[weakref.ref[AdapterOptimizer]], StepGraph | None]] = OrderedDict()
        self._masks: dict[tuple[int, str], Tensor] = {}  # of an adapter's layer: all graphs read the same memory
        self._stream: Any = None  # of all captures, which share their memory

    @property
    def holds_any(self) -> bool:
        return any(graph is not None for _, graph in self._met.values())

    def clear(self) -> None:
        self._met.clear()
        self._masks.clear()

    def take(
        self, base: PackedBase, optimizers: Sequence[AdapterOptimizer], shared: SharedBatch, device: str
    ) -> Tensor:
        """Return the losses (K,) of a batch, and add to the gradients: in the plain way, or by a graph."""
        tokens, targets = shared.batch.input_ids_BT.shape[1], len(shared.owner_N)
        key = tuple(map(id, optimizers)), shared.rows, tokens, targets
        refs, found = self._met.get(key, ([], None))
        if not refs or any(ref() is not optimizer for ref, optimizer in zip(refs, optimizers, strict=True)):
            self._met[key] = [weakref.ref(optimizer) for optimizer in optimizers], None
            self._forget()
            return self._plain(base, optimizers, shared, device)
        self._met.move_to_end(key)
        if found is None:
            found = self._capture(base, optimizers, shared, device)
            if found is None:
                self.clear()
                return self._plain(base, optimizers, shared, device)
            self._met[key] = refs, found
            self._forget()
        return found.replay(optimizers, shared)

    def _plain(
        self, base: PackedBase, optimizers: Sequence[AdapterOptimizer], shared: SharedBatch, device: str
    ) -> Tensor:
        mine = shared.to(device)
        with self.watch:
            return forward_backward(base, optimizers, mine, device)

    def _forget(self) -> None:
        """Let go of graphs whose adapters are gone, and of those not used for longest."""
        gone = [key for key, (refs, _) in self._met.items() if any(ref() is None for ref in refs)]
        for key in gone:
            del self._met[key]
        held = [key for key, (_, graph) in self._met.items() if graph is not None]
        for key in held[: max(0, len(held) - MOST)]:
            del self._met[key]
        while len(self._met) > MOST_MET:
            self._met.popitem(last=False)
        alive = {id(ref()) for refs, _ in self._met.values() for ref in refs}
        self._masks = {key: mask for key, mask in self._masks.items() if key[0] in alive}

    def _capture(
        self, base: PackedBase, optimizers: Sequence[AdapterOptimizer], shared: SharedBatch, device: str
    ) -> StepGraph | None:
        """Capture a batch's kernels, which does not run them; None where that fails, and is then tried no more.

        Where only memory was missing, it may be tried again.
        """
        give_back(device)  # while a graph is captured, nothing that the plain way has left is
        mine = shared.to(device)
        tokens = mine.batch.input_ids_BT.shape[1]
        masks = [
            self._masks_of(optimizer, rows, tokens, device)
            for optimizer, rows in zip(optimizers, mine.rows, strict=True)
        ]
        graph = torch.cuda.CUDAGraph()
        others = (one.graph for _, one in self._met.values() if one is not None)
        pool = next((other.pool() for other in others), None)  # graphs are never replayed at the same time
        self._stream = self._stream or torch.cuda.Stream(device)
        try:
            for optimizer, mask in zip(optimizers, masks, strict=True):
                optimizer.adapter.clock.masks = mask
            with capturing, captured(graph, torch.device(device), pool, self._stream):
                losses_K = forward_backward(base, optimizers, mine, device)
        except Exception as error:
            if not is_out_of_memory(error):
                keep_failed(graph)
                base.graphs, base.cannot_replay = None, True
            traceback.clear_frames(error.__traceback__)
            return None
        finally:
            for optimizer in optimizers:
                optimizer.adapter.clock.masks = {}
        return StepGraph(graph, mine, masks, losses_K)

    def _masks_of(self, optimizer: AdapterOptimizer, rows: int, tokens: int, device: str) -> dict[str, Tensor]:
        """Return where an adapter's masks of a batch are to be written, by layer, each (R, T, D)."""
        found: dict[str, Tensor] = {}
        for layer, part in optimizer.adapter.parts.items():
            if part.dropout is not None:
                shape = rows, tokens, part.a_rD.shape[1]
                count = shape[0] * shape[1] * shape[2]
                whole = self._masks.get((id(optimizer), layer))
                if whole is None or len(whole) < count:  # a graph that reads a smaller one keeps it
                    whole = torch.zeros(count, dtype=torch.bool, device=device)
                    self._masks[id(optimizer), layer] = whole
                found[layer] = whole[:count].view(shape)
        return found


def _fill(optimizers: Sequence[AdapterOptimizer], masks: Sequence[dict[str, Tensor]]) -> None:
    for optimizer, mine in zip(optimizers, masks, strict=True):
        for layer, mask_RTD in mine.items():
            dropout = optimizer.adapter.parts[layer].dropout
            assert dropout is not None
            dropout.fill(mask_RTD)
