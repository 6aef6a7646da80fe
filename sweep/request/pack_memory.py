"""How many trials share a device and the memory they may use, as far as it is known before an engine starts.

What an engine has measured on this machine is looked up by what the trials are to do (no torch, no ray).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweep.environment.devices import Device
from sweep.request import estimates
from trainables import units
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.errors import UserError
from trainables.hardware import machine
from trainables.jobs import EngineSetup, TrialJob, by_base
from trainables.packed import pack_size
from trainables.packed.workload import task_of
from trainables.records.record import SweepFolder, TrialRecord
from trainables.tokenization.tokenized_corpus import TokenizedExamples

# Of an engine's process on a CPU before it loads a model; less than the libraries take, so that no trial is refused
# that would fit.
PROCESS_BYTES = 300 * 2**20


@dataclass(frozen=True)
class KnownWidths:
    """How many trials of one base share a pack: as measured on this machine, or as begun with until it is measured."""

    base: tuple[str, ...]
    widths: pack_size.PackSize
    measured: str | None  # the date
    need_bytes: int | None
    memory_bytes: int
    replays: bool = False  # training steps, as graphs on a GPU

    @property
    def sentence(self) -> str:
        when = f"measured {self.measured}" if self.measured else "not yet measured"
        need = f", needs about {units.size(self.need_bytes)}" if self.need_bytes else ""
        replayed = ", steps replayed as graphs" if self.replays else ""
        return f"pack width: {self.widths.sentence}; {when}{need}{replayed}"

    def as_json(self) -> dict[str, Any]:
        return {
            "base": list(self.base),
            **asdict(self.widths),
            "measured": self.measured,
            "need_bytes": self.need_bytes,
            "memory_bytes": self.memory_bytes,
            "replays": self.replays,
        }


def device_bytes(device: Device) -> int:
    """Return the memory of a device: the smallest GPU's, or what this process may have."""
    if device.kind == "cpu":
        return machine.memory_bytes()
    return min(gpu.memory_bytes for gpu in device.gpus)


def check_memory(
    trains: Iterable[TrainConfig], folders: Mapping[str, str], device: Device, cap_bytes: int | None
) -> None:
    """Raise UserError where not even one trial can fit: its weights alone are more than the memory that may be used."""
    own = PROCESS_BYTES if device.kind == "cpu" else 0
    needs = [own + estimates.least_bytes(train, folders[train.model]) for train in trains]
    there = device_bytes(device)
    cap = min(cap_bytes or there, there)
    if needs and min(needs) > cap:
        beside = " and the process that loads them" if own else ""
        whose = "--memory allows" if cap_bytes and cap_bytes <= there else f"the {device.kind.upper()} has"
        raise UserError(
            f"not even one trial fits: the model's weights{beside} need {units.size(min(needs))} and {whose} "
            f"{units.size(cap)}; take a smaller model, or quantization=nf4"
        )


def refusing(
    trains: Sequence[TrainConfig],
    evaluation: EvalConfig,
    folders: Mapping[str, str],
    device: Device,
    cap_bytes: int | None,
) -> Callable[[TrainConfig], str | None]:
    """Return what says why a configuration cannot fit, None where it can: its peak, as a plan predicts it, is above.

    Where that is so of all of `trains`, it says too much, and the weights alone decide.
    """
    own = PROCESS_BYTES if device.kind == "cpu" else 0
    there = device_bytes(device)
    cap = min(cap_bytes or there, there)

    def peak(train: TrainConfig) -> int:
        return own + estimates.needs_of(train, evaluation, folders[train.model]).memory_bytes

    def least(train: TrainConfig) -> int:
        return own + estimates.least_bytes(train, folders[train.model])

    need = peak if any(peak(train) <= cap for train in trains) else least

    def cause(train: TrainConfig) -> str | None:
        if need(train) <= cap:
            return None
        return f"needs about {units.size(need(train))} of memory, and {units.size(cap)} may be used"

    return cause


def known_widths(
    tokenized: TokenizedExamples,
    trials: Sequence[TrialConfig],
    device: Device,
    cap_bytes: int | None = None,
    asked: int | None = None,
) -> list[KnownWidths]:
    """Return the widths of each base's trials; raises UserError where they were measured and not even one fits."""
    found = []
    for key, mine in by_base(trials).items():
        task = task_of(tokenized, mine)
        if task is None:
            continue
        on_cpu = device.kind == "cpu"
        place = task.place(machine.processor(), device.cores) if on_cpu else task.place(device.gpus[0].name, 0)
        measured = pack_size.recall(place)
        cap = min(cap_bytes or device_bytes(device), device_bytes(device))
        # A quantized base takes what the engine lets it: it may have been unpacked where that was measured.
        within = cap if task.train.quantization == "none" else None
        chosen = pack_size.choose(measured, task.load, device.kind, within, asked)
        need = pack_size.need_bytes(measured, task.load, chosen) if measured else None
        replays = measured is not None and measured.replays
        found.append(KnownWidths(key, chosen, measured.date if measured else None, need, cap, replays))
    return found


def setup_for(setup: EngineSetup, jobs: Sequence[TrialJob], device: Device) -> tuple[EngineSetup, list[KnownWidths]]:
    """Return an engine's setup with the trials to come and as many slots as were measured to be of use."""
    trials = tuple(job.trial for job in jobs)
    tokenized = TokenizedExamples(SweepFolder(Path(setup.sweep_folder)), dict(setup.model_folders))
    known = known_widths(tokenized, trials, device, setup.memory_bytes, setup.pack_width)
    slots = max((one.widths.slots for one in known if one.measured), default=setup.pack_width)
    return replace(setup, trials=trials, pack_width=setup.pack_width or slots), known


def widths_used(records: Iterable[TrialRecord]) -> list[dict[str, Any]]:
    """Return the distinct widths that trials ran at, and to what memory narrowed them, for sweep.json."""
    found: list[dict[str, Any]] = []
    for record in records:
        result = record.result()
        if result is not None and result.pack_width:
            row = {**result.pack_width, "narrowed_to": result.narrowed_to}
            if row not in found:
                found.append(row)
    return found


def narrowed_sentence(used: Sequence[Mapping[str, Any]]) -> str | None:
    """Say that memory ran out and what became of it, None where it did not."""
    words = {
        "slots": "trials in the pack",
        "together": "that train together",
        "rows": "rows that decode together",
        "loss_tokens": "tokens whose loss is computed together",
    }
    least: dict[str, int] = {}
    for row in used:
        for name, value in (row["narrowed_to"] or {}).items():
            least[name] = min(value, least.get(name, value))
    if not least:
        return None
    parts = ", ".join(f"{value} {words[name]}" for name, value in least.items())
    return f"memory ran out: the pack was narrowed to {parts}; no result depends on that"
