"""Many adapters over one frozen base: each linear layer that an adapter targets adds to every row that row's own.

Rows of a batch are ordered by adapter, so that an adapter's are one slice; a row without an adapter is the base alone.
A layer computes slice by slice: what is not finite in one adapter never meets another's rows. The route says whose the
rows are; beams and flattened tokens repeat a row in place, which leaves the slices in order.

Shapes: R rows of a batch, T padded tokens, D inputs and O outputs of a layer, r rank of one adapter.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from trainables.config import TrainConfig
from trainables.modeling import lora_targets
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.onednn_linear import BlockedLinear
from trainables.modeling.peft_lora import Clock, SeededDropout, start_of

ALIGNED = 16  # numbers: each weight begins at a multiple of 64 bytes of its buffer


@dataclass(frozen=True)
class LoraLayer:
    """The A and B of one adapter for one layer, with scale and dropout."""

    a_rD: nn.Parameter
    b_Or: nn.Parameter
    scale: float
    dropout: SeededDropout | None

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Shape (rows, tokens, D) -> (rows, tokens, O), in the arithmetic of PEFT's layer."""
        if training and self.dropout is not None:
            x = self.dropout(x.to(self.a_rD.dtype))
        elif not torch.is_autocast_enabled(x.device.type):  # which would cast it back
            x = x.to(self.a_rD.dtype)
        return linear(linear(x, self.a_rD), self.b_Or) * self.scale


class Adapter:
    """The LoRA weights of one trial, fp32, as views of one buffer; their gradients are views of another."""

    def __init__(self, train: TrainConfig, shapes: dict[str, tuple[int, int]], device: str) -> None:
        self.train = train
        self.clock = Clock(train.seed)
        self.places: dict[str, tuple[int, tuple[int, int]]] = {}  # name in an adapter file -> (offset, shape)
        end = 0
        for layer, (inputs, outputs) in shapes.items():
            for half, shape in (("lora_A", (train.lora_rank, inputs)), ("lora_B", (outputs, train.lora_rank))):
                self.places[f"base_model.model.{layer}.{half}.weight"] = (end, shape)
                end += -(-math.prod(shape) // ALIGNED) * ALIGNED
        self.flat = torch.zeros(end, device=device)
        self.flat_gradient = torch.zeros(end, device=device)
        self.parameters = {name: nn.Parameter(view) for name, view in self.views(self.flat).items()}
        self.parts = {layer: self._part(layer) for layer in shapes}
        for name, view in self.views(self.flat_gradient).items():
            self.parameters[name].grad = view  # which every backward pass adds to in place
        with torch.no_grad():
            for layer, part in self.parts.items():
                part.a_rD.copy_(start_of(train.seed, layer, (train.lora_rank, shapes[layer][0])))

    def _part(self, layer: str) -> LoraLayer:
        a_rD, b_Or = (self.parameters[f"base_model.model.{layer}.{half}.weight"] for half in ("lora_A", "lora_B"))
        dropout = SeededDropout(self.train.lora_dropout, self.clock, layer) if self.train.lora_dropout else None
        return LoraLayer(a_rD, b_Or, self.train.lora_alpha / self.train.lora_rank, dropout)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return the pieces of a buffer laid out like `flat`, by their names in an adapter file."""
        return {
            name: flat[offset : offset + math.prod(shape)].view(shape) for name, (offset, shape) in self.places.items()
        }

    @property
    def count(self) -> int:
        """Number of trainable parameters."""
        return sum(math.prod(shape) for _, shape in self.places.values())

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the weights on the CPU, by their names in an adapter file."""
        return {name: view.to("cpu", copy=True).contiguous() for name, view in self.views(self.flat).items()}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Load weights that `tensors` returned."""
        assert self.places.keys() == tensors.keys(), sorted(self.places.keys() ^ tensors.keys())
        for name, view in self.views(self.flat).items():
            view.copy_(tensors[name])


@dataclass(frozen=True)
class AdapterRows:
    """The rows of a batch from `start` to `stop`, which are one adapter's, or the base's alone."""

    adapter: Adapter | None
    start: int
    stop: int


@dataclass
class Route:
    """Which rows of the batch now in the model are which adapter's; all packed layers of a base share one."""

    groups: tuple[AdapterRows, ...] = ()
    rows: int = 0
    training: bool = False

    def send(self, groups: Sequence[AdapterRows], training: bool = False) -> None:
        self.groups, self.rows, self.training = tuple(groups), groups[-1].stop, training

    def clear(self) -> None:
        self.groups, self.rows, self.training = (), 0, False


class PackedLinear(nn.Module):
    """A frozen linear layer that adds to each row what the adapter of that row adds."""

    def __init__(self, base_layer: nn.Module, name: str, route: Route) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.name = name
        self.route = route

    @property
    def weight(self) -> Any:
        return self.base_layer.weight

    @property
    def bias(self) -> Any:
        return self.base_layer.bias

    def adds_now(self) -> bool:
        """Tell whether an adapter of the route has this layer."""
        return any(group.adapter is not None and self.name in group.adapter.parts for group in self.route.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (R, T, D) -> (R, T, O)."""
        out = self.base_layer(x)
        route = self.route
        if len(route.groups) == 1:
            adapter = route.groups[0].adapter
            part = adapter.parts.get(self.name) if adapter is not None else None
            return out if part is None else (out + part(x, route.training)).to(out.dtype)
        if not self.adds_now():
            return out
        if x.dim() == 2:  # tokens of all rows in one dimension
            return self._add(x.unflatten(0, (route.rows, -1)), out.unflatten(0, (route.rows, -1))).flatten(0, 1)
        return self._add(x, out)

    def _add(self, x: Tensor, out: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return _added(out, list(self._pieces(x)))
        for start, stop, delta in self._pieces(x):
            out[start:stop] += delta
        return out

    def _pieces(self, x: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """Return (first row, last row + 1, what is added) for each adapter that has this layer."""
        route = self.route
        repeated, rest = divmod(x.shape[0], route.rows)
        assert rest == 0, (self.name, x.shape, route.rows)
        for group in route.groups:
            part = group.adapter.parts.get(self.name) if group.adapter is not None else None
            if part is not None:
                start, stop = group.start * repeated, group.stop * repeated
                yield start, stop, part(x[start:stop], route.training)


def _added(out: Tensor, pieces: Sequence[tuple[int, int, Tensor]]) -> Tensor:
    """Return `out` with the pieces added to their slices, for autograd: nothing is changed in place."""
    found, done = [], 0
    for start, stop, delta in pieces:
        if start > done:
            found.append(out[done:start])
        found.append((out[start:stop] + delta).to(out.dtype))
        done = stop
    if done < out.shape[0]:
        found.append(out[done:])
    return torch.cat(found)


@dataclass
class PackedBase:
    """A frozen base whose linear layers become `PackedLinear` as adapters ask for them."""

    loaded: LoadedBase
    total_parameters: int
    pad_id: int
    route: Route = field(default_factory=Route)
    _layers: dict[str, PackedLinear] = field(default_factory=dict)
    copies: list[PackedBase] = field(default_factory=list)  # see `cpu_lanes`
    graphs: Any = None  # see `train_graph`; None where training steps are not replayed
    cannot_replay: bool = False  # a capture has failed

    @property
    def model(self) -> Any:
        return self.loaded.model

    def copy_modules(self) -> PackedBase:
        """Return a base of its own modules over the same weights, for the same adapters."""
        route = Route()
        kept: dict[int, Any] = {id(one): one for one in (*self.model.parameters(), *self.model.buffers())}
        model = copy.deepcopy(self.model, kept | {id(self.route): route})
        layers = {one.name: one for one in model.modules() if isinstance(one, PackedLinear)}
        return PackedBase(replace(self.loaded, model=model), self.total_parameters, self.pad_id, route, layers)

    def adapter(self, train: TrainConfig, device: str) -> Adapter:
        """Return a fresh adapter of this trial; its layers are packed from now on."""
        names = self.target_names(train)
        for name in names:
            if name not in self._layers:
                self._pack(name)
        return Adapter(train, {name: _shape(self._layers[name].base_layer) for name in names}, device)

    def target_names(self, train: TrainConfig) -> list[str]:
        """Return the layers meant by the targets, in the order of the model; raises UserError where there are none."""
        return lora_targets.chosen(self.model, train.target_modules, train.model)

    def peft_targets(self, train: TrainConfig) -> list[str]:
        """Return what PEFT is told to find the same layers."""
        return lora_targets.by_peft(self.model, train.target_modules, self.target_names(train))

    def has_conv1d(self, train: TrainConfig) -> bool:
        """Tell whether a target keeps its weight as (inputs, outputs)."""
        layers = (self._layers[name].base_layer for name in self.target_names(train))
        return any(_is_conv1d(layer) for layer in layers)

    def adapts_head(self, adapter: Adapter) -> bool:
        """Tell whether an adapter changes the output head, which sees completion tokens in place of rows."""
        head = self.model.get_output_embeddings()
        return isinstance(head, PackedLinear) and head.name in adapter.parts

    def drop_graphs(self) -> bool:
        """Let go of the memory that replayed steps hold; returns whether they held any. They are captured again."""
        if self.graphs is None or not self.graphs.holds_any:
            return False
        self.graphs.clear()
        return True

    def _pack(self, name: str) -> None:
        layer = self.model.get_submodule(name)
        packed = PackedLinear(layer, name, self.route)
        parent, _, last = name.rpartition(".")
        setattr(self.model.get_submodule(parent), last, packed)
        packed.train(layer.training)
        self._layers[name] = packed
        self.copies.clear()


def _is_conv1d(layer: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return layer.is_conv1d if isinstance(layer, BlockedLinear) else isinstance(layer, Conv1D)


def _shape(layer: Any) -> tuple[int, int]:
    """Return (inputs, outputs); a 4-bit weight is packed, its layer knows both."""
    if hasattr(layer, "nx"):  # a Conv1D
        return int(layer.nx), int(layer.nf)
    return int(layer.in_features), int(layer.out_features)
