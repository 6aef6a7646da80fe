"""How many trials share a device, and how: what was measured, the choice made from it, and its cache (no torch).

Three numbers: trials in the pack, adapters that train in one batch, prompts that decode together. None of them changes
a result but for rounding on a GPU, so none is part of an identity. What is kept per machine are the measurements, in
one JSON file; the choice is made anew from them, since it depends on the sweep and on the memory that it may use.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trainables import units
from trainables.errors import UserError
from trainables.hardware import machine
from trainables.records import atomic_files

MOST_SLOTS = 32
TOKENS_AT_ONCE = 1024  # of one adapter's step: packed on a CPU, among its rows of a shared batch on a GPU
PADDED = 1.5  # most that the tokens of a replayed batch are padded by
GAIN = 0.9  # a wider one must take at most this share of the time of a narrower one
# Lanes are measured at a disadvantage, over one micro-batch each: in use they do not wait for each other.
LANES_GAIN = 1.05
KEPT = 200  # measurements in the cache


@dataclass(frozen=True)
class PackSize:
    """How many trials share a pack, how many of their adapters train at a time, how many prompts decode together."""

    slots: int  # trials in the pack
    together: int  # adapters that train at a time: in one batch, or on a CPU each in its lane
    rows: int  # prompts that decode together, beams counted

    @property
    def sentence(self) -> str:
        trials = f"{self.slots} trial{'s' if self.slots > 1 else ''}"
        return f"{trials}; trains {self.together} at a time, decodes {self.rows} rows"


UNMEASURED = {"cpu": PackSize(8, 1, 128), "cuda": PackSize(8, 8, 256)}


WAY = 6  # raised when training or decoding goes another way: what was measured before is of no use


@dataclass(frozen=True)
class MeasurementKey:
    """The machine, model and micro-batch (`rows` of `tokens`) that a measurement holds for."""

    device: str
    threads: int  # of the CPU, 0 on a GPU
    torch: str
    model: str
    precision: str
    quantization: str
    recomputes: bool
    rows: int
    tokens: int
    way: int = field(default=WAY, kw_only=True)

    @property
    def key(self) -> str:
        return "|".join(str(value) for value in vars(self).values())


@dataclass(frozen=True)
class WidthCost:
    """What a width costs: seconds for each adapter's micro-batch or row's token, and bytes beside base and adapters."""

    width: int
    seconds: float
    extra_bytes: int


@dataclass(frozen=True)
class Measurement:
    """The widths of training and of decoding that were tried for one `MeasurementKey`, and what they cost."""

    train: tuple[WidthCost, ...]
    decode: tuple[WidthCost, ...]
    base_bytes: int  # of the process, or allocated on the GPU, with the base loaded
    date: str
    took_s: float
    replays: bool = False  # training steps take clearly less time as CUDA graphs


@dataclass(frozen=True)
class Workload:
    """The trials of a pack, as far as its size depends on them."""

    trials: int
    adapter_bytes: int  # of the largest adapter, with gradient and moments
    request_rows: int  # rows of the smallest generation of a trial, beams counted
    scale: float = 1.0  # of the longest rows against those measured, where texts are written
    train_scale: float = 1.0  # of the tokens of the largest training batch against those measured
    least_adapter_bytes: int = 0  # of the smallest adapter


# --- the choice ------------------------------------------------------------------------------------------------------


def fastest(points: Sequence[WidthCost], gain: float = GAIN) -> int:
    """Return the width of the least time for each that shares it; a wider one has to be clearly faster."""
    best = points[0]
    for point in points[1:]:
        if point.seconds <= best.seconds * gain:
            best = point
    return best.width


def _best(points: Sequence[WidthCost], usual: int, gain: float = GAIN) -> int:
    """Return the fastest width; the usual one where none was compared, or the widest that there was time for gained."""
    best = fastest(points, gain) if len(points) > 1 else usual
    return max(best, usual) if points and best == points[-1].width else best


def extra_bytes(points: Sequence[WidthCost], width: int) -> int:
    """Return what a width needs beside base and adapters, in proportion to the nearest width that was measured."""
    if not points:
        return 0
    nearest = min(points, key=lambda point: abs(point.width - width))
    return int(nearest.extra_bytes * width / nearest.width)


def need_bytes(measured: Measurement, load: Workload, widths: PackSize) -> int:
    """Return the bytes that a pack of this size needs at its peak."""
    train = extra_bytes(measured.train, widths.together) * load.train_scale
    decode = extra_bytes(measured.decode, widths.rows) * load.scale
    graphs = 0.0
    if measured.replays:  # they keep what they were captured with, beside a batch that goes the plain way
        train *= PADDED
        graphs = train
    return int(measured.base_bytes + widths.slots * load.adapter_bytes + max(train, decode) + graphs)


def choose(
    measured: Measurement | None, load: Workload, kind: str, cap_bytes: int | None = None, asked: int | None = None
) -> PackSize:
    """Return the fastest pack size that fits `cap_bytes`; `asked` trials in the pack, where the user has said so.

    Raises UserError where not even one trial alone fits.
    """
    default = UNMEASURED[kind]
    rows = _best(measured.decode if measured else (), default.rows)
    gain = LANES_GAIN if kind == "cpu" else GAIN
    together = _best(measured.train if measured else (), default.together, gain)
    compared = measured is not None and len(measured.decode) > 1
    filling = -(-rows // max(1, load.request_rows)) if compared else 0  # trials whose smallest generations fill a batch
    slots = asked or min(MOST_SLOTS, max(default.slots, together, filling), max(1, load.trials))
    widths = PackSize(slots, min(together, slots), rows)
    if measured is None or cap_bytes is None:
        return widths
    while need_bytes(measured, load, widths) > cap_bytes:
        narrower = _narrower(measured, widths)
        if narrower is None:
            least = need_bytes(measured, replace(load, adapter_bytes=load.least_adapter_bytes), widths)
            if least > cap_bytes:
                raise UserError(does_not_fit(least, cap_bytes))
            return widths  # some trials fit: the others are told so when their turn comes
        widths = narrower
    return widths


def does_not_fit(need: int, cap: int) -> str:
    """Say that not even one trial fits."""
    return (
        f"not even one trial fits: it needs about {units.size(need)} with the model loaded, and "
        f"{units.size(cap)} may be used; raise --memory, or take a smaller model, batch_size, "
        "max_length_tokens or lora_rank, or quantization=nf4"
    )


def _narrower(measured: Measurement, widths: PackSize) -> PackSize | None:
    """Return the next smaller pack size: first what shares batches, then who shares the pack; None for the smallest."""
    train, decode = extra_bytes(measured.train, widths.together), extra_bytes(measured.decode, widths.rows)
    if widths.together > 1 and train >= decode:
        return replace(widths, together=widths.together // 2)
    if widths.rows > 1 and decode > train:
        return replace(widths, rows=widths.rows // 2)
    if widths.slots > 1:
        return replace(widths, slots=widths.slots - 1, together=min(widths.together, widths.slots - 1))
    return None


# --- the cache -------------------------------------------------------------------------------------------------------


def cache_path() -> Path:
    """Return the file of this machine's measurements."""
    return machine.cache_folder() / "widths.json"


def read_all() -> dict[str, tuple[MeasurementKey, Measurement]]:
    """Return every measurement kept, the latest last; none where the file is absent, damaged or unreadable."""
    found: dict[str, tuple[MeasurementKey, Measurement]] = {}
    try:
        for entry in atomic_files.read_json(cache_path())["measured"]:
            values = dict(entry["found"])
            for name in ("train", "decode"):
                values[name] = tuple(WidthCost(**point) for point in values[name])
            place = MeasurementKey(**{"way": 1, **entry["place"]})
            found[place.key] = (place, Measurement(**values))
    except (OSError, atomic_files.DamagedFile, KeyError, TypeError, ValueError):
        return {}
    return found


def recall(place: MeasurementKey) -> Measurement | None:
    """Return the measurement that is kept under a key, None where there is none."""
    found = read_all().get(place.key)
    return found[1] if found else None


def remember(place: MeasurementKey, measured: Measurement) -> None:
    """Keep a measurement; a folder that cannot be written is no error, only measured again."""
    entries = read_all()
    entries.pop(place.key, None)
    entries[place.key] = (place, measured)
    rows = [{"place": asdict(where), "found": asdict(what)} for where, what in list(entries.values())[-KEPT:]]
    with contextlib.suppress(OSError):
        atomic_files.write_json(cache_path(), {"measured": rows})


def today() -> str:
    return time.strftime("%Y-%m-%d")


class PackLimits:
    """The pack size in force: it begins as chosen, and is made smaller for good where memory runs out."""

    def __init__(self, widths: PackSize, loss_tokens: int, measured: str | None = None) -> None:
        self.chosen = self.now = widths
        self.measured = measured  # the date
        self.loss_tokens = loss_tokens  # padded, of a batch whose loss is computed at once
        self._loss_tokens = loss_tokens

    def narrow(self, *, together: int | None = None, rows: int | None = None) -> None:
        """Let no more than this share a batch."""
        now = self.now
        together, rows = min(now.together, together or now.together), min(now.rows, rows or now.rows)
        self.now = replace(now, together=max(1, together), rows=max(1, rows))

    def narrow_slots(self, slots: int) -> None:
        """Let no more trials share the pack; what shares batches begins anew, for it was not what was too much."""
        slots = max(1, min(self.now.slots, slots))
        self.now = replace(self.chosen, slots=slots, together=min(self.chosen.together, slots))
        self.loss_tokens = self._loss_tokens

    def narrow_losses(self, tokens: int) -> None:
        self.loss_tokens = max(1, min(self.loss_tokens, tokens))

    def recorded(self) -> dict[str, Any]:
        """Return what a trial's result says of the width of the pack that it trained in."""
        return {**asdict(self.chosen), "measured": self.measured}

    @property
    def narrowed_to(self) -> dict[str, int] | None:
        """Return those of the numbers that memory has made smaller, None where all are as chosen."""
        before, now = asdict(self.chosen), asdict(self.now)
        found = {name: value for name, value in now.items() if value != before[name]}
        if self.loss_tokens != self._loss_tokens:
            found["loss_tokens"] = self.loss_tokens
        return found or None
