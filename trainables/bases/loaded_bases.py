"""The bases that an engine has loaded: the one in use, and earlier ones while they take little of the memory.

A grid over quantization or model needs each of its bases twice, to prove before anything trains that it works, and to
train. Those that together take at most a quarter of the device's memory stay, so that each is loaded once. Where they
take more, the one before is let go before the next is loaded, and each is loaded twice at most.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.bases import refusals
from trainables.bases.load import load_base
from trainables.config import TrainConfig
from trainables.hardware import machine
from trainables.hardware.device_memory import give_back
from trainables.jobs import BaseKey, EngineSetup, key_of
from trainables.model_files.layer_shapes import PRECISION_BYTES, total_parameters
from trainables.modeling.base_model import LoadedBase
from trainables.startup_progress import stage

KEPT_SHARE = 0.25  # of the memory that may be used


@dataclass
class BaseCache:
    """The bases by model, quantization and precision, the one used last at the end; `loads` counts those read."""

    setup: EngineSetup
    loads: int = 0
    _held: dict[BaseKey, Any] = field(default_factory=dict)

    def get(self, train: TrainConfig, folder: Path, wrap: Callable[[LoadedBase], Any] = lambda base: base) -> Any:
        """Return the base of a trial as `wrap` made it, loaded where it is not there; raises UserError."""
        key = key_of(train)
        if key in self._held:
            self._held[key] = self._held.pop(key)
            return self._held[key]
        self._make_room(total_parameters(folder) * PRECISION_BYTES[train.precision])
        with stage(f"loading {train.model}"):
            base = load_base(folder, train, self.setup.device, self.setup.trust_remote_code)
            self.loads += 1
            self._held[key] = wrap(base)
            refusals.remember(train.model, train.precision, self.setup.device, base.capabilities.refused)
        # Garbage is collected once a trial: hundreds of thousands of objects of the imported libraries and of the
        # models would be walked each time.
        gc.freeze()
        return self._held[key]

    @property
    def idle_bytes(self) -> int:
        """Bytes of the bases that are loaded and not in use."""
        return sum(nbytes_of(base) for base in list(self._held.values())[:-1])

    def _make_room(self, need_bytes: int) -> None:
        most = KEPT_SHARE * usable_bytes(self.setup)
        held = {key: nbytes_of(base) for key, base in self._held.items()}
        gone = []
        while held and sum(held.values()) + need_bytes > most:
            gone.append(next(iter(held)))
            del held[gone[-1]]
        self._drop(gone)

    def _drop(self, keys: list[BaseKey]) -> None:
        if keys:
            gc.unfreeze()
            for key in keys:
                del self._held[key]
            give_back(self.setup.device)
            gc.freeze()


def nbytes_of(base: Any) -> int:
    """Return the bytes of the weights of a base, as it was loaded or as an engine has wrapped it."""
    model: nn.Module = base.model
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def usable_bytes(setup: EngineSetup) -> int:
    """Return the memory that an engine may use: what it is told, else its share of all that the device has."""
    if setup.memory_bytes is not None:
        return setup.memory_bytes
    if setup.device == "cpu":
        return machine.memory_bytes() // setup.sharing
    return int(torch.cuda.get_device_properties(setup.device).total_memory) // setup.sharing
