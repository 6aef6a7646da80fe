"""A loaded base model with what it was found to be able to do, and the arithmetic of its forward passes.

Precision: fp32, or bf16 and fp16 base weights under autocast. Adapters and their moments are fp32 always.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a fork after use would warn
# oneDNN keeps a compiled product for each number of rows that it met, 1,024 if not told: half a GB, seldom used again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

import torch
from torch import nn

# bitsandbytes says at its import what it does not find, whoever imports it.
for _name in ("accelerate", "peft", "bitsandbytes"):
    logging.getLogger(_name).setLevel(logging.ERROR)

log = logging.getLogger(__name__)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Capabilities:
    """Which faster ways of computing give a base model's own numbers, as `bases.probes` found by doing both."""

    packed_attention: bool = False  # this project's attention in place of the library's (see `attention`)
    last_mlp: str | None = None  # name of the module that may see completion tokens alone (see `last_mlp`)
    ragged_cache: bool = False  # rows of unequal length decode together without padding (see `prefill`)
    sequence_packing: bool = False  # rows are read one behind another in the place of one (see `attention`)
    token_graphs: bool = False  # a decoded token is replayed as a CUDA graph (see `token_graph`)
    cpu_lanes: bool = False  # copies of the modules over the same weights compute at the same time (see `cpu_lanes`)
    rotary_boundary_tokens: int | None = None  # up to which length rotary factors are others than beyond it
    refused: Mapping[str, str] = field(default_factory=dict)  # name of a way that is not taken -> why


@dataclass
class LoadedBase:
    """A frozen base model, or what PEFT has wrapped around it, and what it was found to be able to do."""

    model: Any
    capabilities: Capabilities = field(default_factory=Capabilities)
    dropout_switched_off: dict[str, float] = field(default_factory=dict)  # name in the configuration -> rate

    def allow(self, way: str, value: Any = True) -> None:
        """Take this faster way of computing from now on."""
        refused = {other: reason for other, reason in self.capabilities.refused.items() if other != way}
        self.capabilities = replace(self.capabilities, **{way: value}, refused=refused)

    def refuse(self, way: str, reason: str) -> None:
        """Leave this faster way of computing from now on, and keep the reason."""
        log.info("%s is not used: %s", way.replace("_", " "), reason)  # `sweep doctor` shows it (see `refusals`)
        refused = {**self.capabilities.refused, way: reason}
        plain = {way: getattr(Capabilities(), way)} if hasattr(self.capabilities, way) else {}
        self.capabilities = replace(self.capabilities, **plain, refused=refused)


def arithmetic(precision: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context that every forward pass runs in: training, evaluation and generation alike."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.split(":")[0], dtype=DTYPES[precision])


def unwrapped(model: Any) -> Any:
    """Return the base inside a model that PEFT has wrapped; any other model is returned as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Return the device on which a model takes token ids."""
    found: torch.device = model.get_input_embeddings().weight.device
    return found


@contextlib.contextmanager
def forwarding(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Have a module compute by `forward` in this block, and afterwards as it did before."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def recomputes(model: nn.Module) -> bool:
    """Tell whether layers are computed a second time in the backward pass, to save memory."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Return (trainable, total) parameters; a 4-bit weight counts as the elements that it stands for."""
    trainable = total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        size = state.shape.numel() if state is not None else parameter.numel()
        total += size
        trainable += size if parameter.requires_grad else 0
    return trainable, total
