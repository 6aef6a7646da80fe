"""The size of an engine's pack: as measured before, else measured when a base is loaded, and within the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from trainables import units
from trainables.config import TrainConfig
from trainables.errors import UserError
from trainables.hardware import machine
from trainables.hardware.device_memory import give_back, is_out_of_memory, memory_in_use_bytes
from trainables.jobs import EngineSetup, by_base
from trainables.modeling.loss import LOSS_TOKENS
from trainables.modeling.multi_lora import PackedBase
from trainables.packed import pack_size
from trainables.packed.autotune import measure
from trainables.packed.cpu_lanes import most_lanes
from trainables.packed.device_request import TrialTooLarge
from trainables.packed.pack_size import UNMEASURED, Measurement, PackLimits, PackSize, Workload
from trainables.packed.train_graph import StepGraphs
from trainables.packed.workload import BaseTask, adapter_bytes, task_of
from trainables.tokenization.tokenized_corpus import TokenizedExamples


@dataclass
class PackSizeChooser:
    """Chooses the pack size for each base of one engine."""

    setup: EngineSetup
    tokenized: TokenizedExamples
    slots: int
    together: int | None = None  # adapters that train at a time, where a test says so
    idle_bytes: Callable[[], int] = int  # of bases that are loaded and not in use
    chosen: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    task: BaseTask | None = None  # of the base in use
    found: Measurement | None = None
    _limits: dict[tuple[str, ...], tuple[BaseTask, Measurement, PackLimits]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.setup.device.split(":")[0]

    @property
    def cap_bytes(self) -> int:
        """Bytes that this engine may use."""
        if self.setup.memory_bytes is not None:
            return self.setup.memory_bytes - self.idle_bytes()
        if self.kind == "cpu":
            return machine.memory_bytes() - self.idle_bytes()
        free, _ = torch.cuda.mem_get_info(self.setup.device)
        return int(free + torch.cuda.memory_reserved(self.setup.device)) - self.idle_bytes()

    def limits(self, base: PackedBase | None, key: tuple[str, ...] = ()) -> PackLimits:
        """Return the pack size for the trials of a base; raises UserError where not even one of them fits."""
        if key in self._limits:  # as it was left: narrowed, where memory has run out
            self.task, self.found, limits = self._limits[key]
            self._let_replay(base)
            return limits
        self.task = self.found = None
        mine = next((trials for other, trials in by_base(self.setup.trials).items() if other == key), [])
        if base is not None:
            self.task = task_of(self.tokenized, mine)
        if base is None or self.task is None:
            default = UNMEASURED[self.kind]
            usual = most_lanes(torch.get_num_threads()) if self.kind == "cpu" else default.together
            together = self.together or min(usual, self.slots)
            return PackLimits(PackSize(self.slots, together, default.rows), LOSS_TOKENS[self.kind])
        self.found, source = self._measured(base, self.task)
        self._let_replay(base)
        chosen = pack_size.choose(self.found, self.task.load, self.kind, self.cap_bytes, self.slots)
        if self.together:
            chosen = replace(chosen, together=self.together)
        self.chosen[key] = {
            "base": list(key),
            **asdict(chosen),
            "measured": self.found.date,
            "source": source,
            "took_s": self.found.took_s,
            "need_bytes": pack_size.need_bytes(self.found, self.task.load, chosen),
            "memory_bytes": self.cap_bytes,
            "replays": self.found.replays,
        }
        limits = PackLimits(chosen, LOSS_TOKENS[self.kind], self.found.date)
        self._limits[key] = self.task, self.found, limits
        return limits

    def _let_replay(self, base: PackedBase | None) -> None:
        """Have a base replay its training steps where that was measured to pay."""
        assert self.found is not None
        if base is not None and base.graphs is None and self.found.replays and not base.cannot_replay:
            base.graphs = StepGraphs()

    def check_fits(self, train: TrainConfig) -> None:
        """Raise TrialTooLarge for a trial that does not fit alone."""
        if self.found is None or self.task is None:
            return
        scales = self.task.load.scale, self.task.train_scale(train)
        load = Workload(1, adapter_bytes(self.tokenized, train), 1, *scales)
        need = pack_size.need_bytes(self.found, load, PackSize(1, 1, 1))
        if need > self.cap_bytes:
            sizes = units.size(need), units.size(self.cap_bytes)
            raise TrialTooLarge("out of memory: this trial alone needs about {}, and {} may be used".format(*sizes))

    def _measured(self, base: PackedBase, task: BaseTask) -> tuple[Measurement, str]:
        """Return what was measured for such trials before, here or by an earlier run, or measure it."""
        device = self.setup.device
        name, threads = machine.processor(), torch.get_num_threads()
        if self.kind != "cpu":
            name, threads = torch.cuda.get_device_name(device), 0
        place = task.place(name, threads)
        known = pack_size.recall(place)
        source = "cache"
        if known is not None and (self.kind != "cpu" or task.train.quantization != "none"):
            # A quantized base may have been unpacked then and not now. On a CPU others are read in as they are used.
            known = replace(known, base_bytes=max(0, memory_in_use_bytes(device) - self.idle_bytes()))
        if known is None:
            try:
                cap = self.cap_bytes + self.idle_bytes()
                known, is_whole = measure(base, task.train, task.rows, place, device, self.slots, cap)
                # What is remembered is this base's alone.
                known = replace(known, base_bytes=max(0, known.base_bytes - self.idle_bytes()))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                give_back(device, error)
                raise UserError(
                    "not even one micro-batch of one trial fits the memory, of which "
                    f"{units.size(self.cap_bytes)} may be used: "
                    f"{str(error).splitlines()[0]}; take a smaller model, batch_size or max_length_tokens, "
                    "gradient_checkpointing=true, or quantization=nf4"
                ) from None
            source = "measured now"
            if is_whole:
                pack_size.remember(place, known)
        return known, source
