"""The widths of a packed engine: from the cache, else measured when a base is loaded, and kept within the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trainables import machine, widths
from trainables.config import TrainConfig, TrialConfig
from trainables.errors import UserError
from trainables.evaluate import LOSS_TOKENS
from trainables.jobs import EngineSetup
from trainables.memory import give_back, is_out_of_memory
from trainables.pack import TooLarge
from trainables.packed_lora import PackedBase
from trainables.rows import RowShelf
from trainables.tokens import Row
from trainables.width import measure, place_of
from trainables.widths import UNMEASURED, Measured, Room, Widths, Workload

# fp32 numbers kept per weight of an adapter: itself, its gradient, and two moments, which may have a byte each.
FLOATS = {"paged_adamw_8bit": 2.5}


@dataclass
class Widener:
    """Chooses widths for the bases of one engine; `trials` are those to come."""

    setup: EngineSetup
    shelf: RowShelf
    slots: int
    together: int | None = None  # adapters that train in one batch, where a test says so
    trials: list[TrialConfig] = field(default_factory=list)
    chosen: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    found: Measured | None = None  # of the base now loaded
    measured_rows: int = 1  # of the micro-batch that it was measured with
    scale: float = 1.0
    _known: dict[str, Measured] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.setup.device.split(":")[0]

    @property
    def cap_bytes(self) -> int:
        """Bytes that this engine may use."""
        if self.setup.memory_bytes is not None:
            return self.setup.memory_bytes
        if self.kind == "cpu":
            return machine.memory_bytes()
        import torch

        free, _ = torch.cuda.mem_get_info(self.setup.device)
        return int(free + torch.cuda.memory_reserved(self.setup.device))

    def room(self, base: PackedBase | None, key: tuple[str, ...] = ()) -> Room:
        """Return the widths for the trials of a base; raises UserError where not even one of them fits."""
        mine = [one for one in self.trials if key == (one.train.model, one.train.quantization, one.train.precision)]
        self.found, self.scale = None, 1.0
        if base is None or not mine or not self.setup.measures or all(one.train.is_baseline for one in mine):
            default = UNMEASURED[self.kind]
            together = self.together or min(default.together, self.slots)
            return Room(Widths(self.slots, together, default.rows), LOSS_TOKENS[self.kind])
        trains = [one.train for one in mine]
        train = widths.typical(trains)
        rows = [row for row in self.shelf.train_rows(train) if row.fits]
        tokens = widths.typical_tokens([_length(row) for row in rows[: widths.SAMPLE]])
        self.found, source = self._measured(base, train, rows, min(tokens, self.shelf.limit_tokens(train)))
        self.measured_rows, self.scale = train.batch_size, max(1.0, self._longest(mine) / tokens)
        adapters = [self._adapter_bytes(one) for one in trains if not one.is_baseline]
        load = Workload(
            len(mine), max(adapters), widths.smallest_question(mine), self.scale, least_adapter_bytes=min(adapters)
        )
        chosen = widths.choose(self.found, load, self.kind, self.cap_bytes, self.slots)
        if self.together:
            chosen = replace(chosen, together=self.together)
        self.chosen[key] = {
            "base": list(key),
            **asdict(chosen),
            "measured": self.found.date,
            "from": source,
            "took_s": self.found.took_s,
            "need_bytes": widths.need_bytes(self.found, load, chosen),
            "memory_bytes": self.cap_bytes,
        }
        return Room(chosen, LOSS_TOKENS[self.kind])

    def check_fits(self, train: TrainConfig) -> None:
        """Raise TooLarge for a trial that does not fit alone."""
        if self.found is None:
            return
        load = Workload(1, self._adapter_bytes(train), 1, self.scale * train.batch_size / self.measured_rows)
        need = widths.need_bytes(self.found, load, Widths(1, 1, 1))
        if need > self.cap_bytes:
            allowed = f"{machine.show_bytes(self.cap_bytes)} may be used"
            raise TooLarge(f"out of memory: this trial alone needs about {machine.show_bytes(need)}, and {allowed}")

    def _measured(self, base: PackedBase, train: TrainConfig, rows: Sequence[Row], tokens: int) -> tuple[Measured, str]:
        """Return what was measured for such trials before, here or by an earlier run, or measure it."""
        device = self.setup.device
        place = place_of(train, widths.shape_of(str(self.shelf.folder(train))), tokens, device)
        known = self._known.get(place.key) or widths.recall(place)
        source = "cache"
        if known is None:
            try:
                known = measure(base, train, rows, place, device, max(self.slots, 1))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                give_back(device, error)
                cap = machine.show_bytes(self.cap_bytes)
                raise UserError(
                    f"not even one micro-batch of one trial fits the memory, of which {cap} may be used: "
                    f"{str(error).splitlines()[0]}; take a smaller model, batch_size or max_length_tokens, "
                    "gradient_checkpointing=true, or quantization=nf4"
                ) from None
            source = "measured now"
            widths.remember(place, known)
        self._known[place.key] = known
        return known, source

    def _adapter_bytes(self, train: TrainConfig) -> int:
        from trainables.shapes import lora_parameters

        count = lora_parameters(self.shelf.folder(train), train.lora_rank, train.target_modules)
        return int(count * 4 * FLOATS.get(train.optimizer, 4))

    def _longest(self, trials: Sequence[TrialConfig]) -> int:
        """Return the tokens of the longest row that is trained on or written."""
        longest = 0
        for one in {trial.train.prompt: trial for trial in trials if not trial.train.is_baseline}.values():
            train, evaluation = one.train, one.evaluation
            longest = max([longest, *(_length(row) for row in self.shelf.train_rows(train) if row.fits)])
            for split, count in evaluation.examples.items():
                found = self.shelf.evaluation_rows(train, split, count, evaluation.max_new_tokens)
                longest = max(
                    [longest, *(len(row.prompt_ids) + evaluation.max_new_tokens for row in found if row.fits)]
                )
        return longest


def _length(row: Row) -> int:
    return len(row.prompt_ids) + len(row.target_ids)
