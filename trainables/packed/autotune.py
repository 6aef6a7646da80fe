"""How wide to train and to decode, measured on the loaded base by a few micro-batches and tokens of each width.

Nothing that a trial sees is touched: throw-away adapters train, the process's random state is put back. Wider is tried
as long as it is clearly faster for each, fits the memory and stays within the time.

Shapes: B rows of a micro-batch, R rows that decode together.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from trainables.bases.probes import probe_step_graphs
from trainables.config import TrainConfig
from trainables.decoding.prefill import filler_of
from trainables.hardware.device_memory import (
    give_back,
    is_out_of_memory,
    memory_in_use_bytes,
    peak_memory_bytes,
    reset_peak_memory,
)
from trainables.kv_cache.preallocated import preallocated_cache
from trainables.kv_cache.ragged import Prefill
from trainables.modeling.base_model import arithmetic
from trainables.modeling.loss import collate
from trainables.modeling.multi_lora import Adapter, AdapterRows, PackedBase
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep
from trainables.packed.cpu_lanes import in_lanes, lanes_for, most_lanes
from trainables.packed.pack_size import Measurement, MeasurementKey, WidthCost, fastest, today
from trainables.packed.train_graph import StepGraphs
from trainables.packed.training import rehearse_all, take_steps, train_together
from trainables.startup_progress import stage
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.training_loop import MicroBatch

TOGETHER = {"cpu": (1, 2, 4, 8), "cuda": (1, 2, 4, 8, 16, 32)}
ROWS = {"cpu": (16, 32, 64, 128), "cuda": (32, 64, 128, 256, 512)}
BUDGET_S = {"cpu": 5.0, "cuda": 6.0}  # of training, and again of decoding
STEADY_S = 0.2  # a shorter run is repeated
REPEATS = 3
TOKENS = 2  # decoded in a run
MARGIN = 1.6  # of the time of a width, with what prepares it, over that of the run before
NEVER_S = 1e9  # of a width that memory did not suffice for


@dataclass
class Bench:
    """What widths are measured with: the base, throw-away adapters on it, and one micro-batch that stands for all."""

    base: PackedBase
    train: TrainConfig
    rows: Sequence[TokenRow]
    place: MeasurementKey
    device: str
    cap_bytes: int
    adapters: list[Adapter] = field(default_factory=list)
    is_cut: bool = False  # a width was left out because it might not keep to the cap

    @property
    def kind(self) -> str:
        return self.device.split(":")[0]

    def next_step(self, number: int) -> NextStep:
        while len(self.adapters) <= number:
            self.adapters.append(self.base.adapter(self.train, self.device))
        rows = [self.rows[index % len(self.rows)] for index in range(self.train.batch_size)]
        micro = MicroBatch(collate(rows, self.base.pad_id), 0, 0, sum(len(row.target_ids) for row in rows))
        optimizer = AdapterOptimizer(self.adapters[number], self.device)
        # As many as are packed or share a batch: a step holds no more at once.
        return NextStep(optimizer, [micro] * (self.place.rows // self.train.batch_size))

    def adapters_bytes(self) -> int:
        return sum(2 * adapter.flat.nbytes for adapter in self.adapters)


Prepare = Callable[[Bench, int], Callable[[], None]]


def measure(
    base: PackedBase,
    train: TrainConfig,
    rows: Sequence[TokenRow],
    place: MeasurementKey,
    device: str,
    most: int,
    cap_bytes: int,
) -> tuple[Measurement, bool]:
    """Measure training with up to `most` adapters and decoding; `rows` are training rows, those that fit.

    The second value tells whether it is whole: no width was left out for the memory that may be used. Raises what
    memory raises where not even one micro-batch of one adapter fits.
    """
    began = time.monotonic()
    nearest = sorted(rows, key=lambda row: abs(len(row.prompt_ids) + len(row.target_ids) - place.tokens))
    bench = Bench(base, train, nearest[: train.batch_size], place, device, cap_bytes)
    with torch.random.fork_rng(devices=[] if device == "cpu" else [torch.device(device)]):
        try:
            with stage("taking the first step"):
                _train_run(bench, 1)()  # what is loaded, compiled or found out at the first run
            give_back(device)
            in_use = memory_in_use_bytes(device) - bench.adapters_bytes()
            if bench.kind == "cpu":
                most = lanes_for(base, min(most, most_lanes(torch.get_num_threads())))
            widths = [width for width in TOGETHER[bench.kind] if width <= most]
            with stage("measuring how many trials train together", len(widths)) as tried:
                training = _points(bench, widths, _train_run, in_use, tried)
                replays = _replays(bench, fastest(training))
            with stage("measuring how many rows decode together", len(ROWS[bench.kind])) as tried:
                decoding = _decoding(bench, in_use, tried)
        finally:
            base.route.clear()
            base.model.eval()
            bench.adapters.clear()
            give_back(device)
            reset_peak_memory(device)
    took_s = round(time.monotonic() - began, 2)
    return Measurement(training, decoding, in_use, today(), took_s, replays), not bench.is_cut


def _points(
    bench: Bench, widths: Sequence[int], prepare: Prepare, in_use: int, tried: Callable[[], None]
) -> tuple[WidthCost, ...]:
    """Return the widths tried, from the narrowest on, until two are not clearly faster for each that shares them."""
    found: list[WidthCost] = []
    until = time.monotonic() + BUDGET_S[bench.kind]
    for width in widths:
        # The run that may take long is foreseen from the one before.
        if found and time.monotonic() + MARGIN * found[-1].seconds * width > until:
            break
        if found and in_use + found[-1].extra_bytes * width / found[-1].width > bench.cap_bytes:
            bench.is_cut = True
            break
        try:
            reset_peak_memory(bench.device)
            seconds = _seconds(bench, width, prepare)
        except Exception as error:
            if not is_out_of_memory(error) or not found:
                raise
            give_back(bench.device, error)
            found.append(_too_wide(width, found[-1]))
            break
        extra = peak_memory_bytes(bench.device) - in_use - bench.adapters_bytes()
        give_back(bench.device)
        # A wider one needs no less: what is measured as less lay in memory that was there already.
        least = found[-1].extra_bytes if found else 0
        found.append(WidthCost(width, seconds / width, max(least, extra)))
        tried()
        if [point.width for point in found].index(fastest(found)) <= len(found) - 3:
            break
    return tuple(found)


def _too_wide(width: int, last: WidthCost) -> WidthCost:
    """Return the cost of a width that memory did not suffice for, behind the widest that it did for."""
    return WidthCost(width, NEVER_S, last.extra_bytes * width // last.width)


def _seconds(bench: Bench, width: int, prepare: Prepare) -> float:
    """Return the seconds of a run, the least of a few where it is short."""
    run = prepare(bench, width)
    found: list[float] = []
    while len(found) < REPEATS and sum(found) < STEADY_S:
        _wait(bench.device)
        began = time.monotonic()
        run()
        _wait(bench.device)
        found.append(time.monotonic() - began)
    return min(found)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def _train_run(bench: Bench, width: int) -> Callable[[], None]:
    """Return a run of `width` adapters through one micro-batch each, and their updates; on a CPU each in its lane."""
    next_steps = [bench.next_step(number) for number in range(width)]
    return partial(_take_in_lanes if bench.kind == "cpu" or width == 1 else _take_in_a_batch, bench, next_steps)


def _take_in_lanes(bench: Bench, next_steps: Sequence[NextStep]) -> None:
    left = list(next_steps)

    def take_one(base: PackedBase) -> None:
        # One adapter's rows are taken one by one where memory does not suffice for its micro-batch, as in training.
        _raise_first(take_steps(base, [left.pop()], bench.device))

    for next_step in next_steps:
        next_step.clear()
    in_lanes(bench.base, len(next_steps), torch.get_num_threads(), take_one)


def _take_in_a_batch(bench: Bench, next_steps: Sequence[NextStep]) -> None:
    for next_step in next_steps:
        next_step.clear()
    _raise_first(train_together(bench.base, next_steps, bench.device))


def _replays(bench: Bench, width: int) -> bool:
    """Tell whether batches of so many adapters are to be replayed as graphs, on a GPU."""
    if bench.kind == "cpu" or bench.train.gradient_checkpointing:
        return False
    next_steps = [bench.next_step(number) for number in range(width)]
    for next_step in next_steps:
        next_step.optimizer.scaler = None  # whose first scale may be too large for norms to be compared
    return probe_step_graphs(
        bench.base, lambda: rehearse_all(bench.base, next_steps, bench.device), bench.device, StepGraphs
    )


def _raise_first(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer


def _decoding(bench: Bench, in_use: int, tried: Callable[[], None]) -> tuple[WidthCost, ...]:
    """Return the widths of decoding, none for a model whose cache is not one of keys and values.

    Raises what memory raises where not even one row fits.
    """
    bench.base.model.eval()
    widths, too_many = ROWS[bench.kind], 0
    points: tuple[WidthCost, ...] = ()
    while not points:
        try:
            points = _points(bench, widths, _decode_run, in_use, tried)
        except Exception as error:
            if not is_out_of_memory(error):
                give_back(bench.device, error)
                return ()
            if widths[0] == 1:
                raise
            give_back(bench.device, error)
            bench.is_cut = True
            too_many = widths[0]
            widths = tuple(sorted({max(1, too_many // 4), too_many // 2}))
    if too_many > points[-1].width:
        points = (*points, _too_wide(too_many, points[-1]))
    return tuple(WidthCost(one.width, one.seconds / TOKENS, one.extra_bytes) for one in points)


@torch.no_grad()
def _decode_run(bench: Bench, width: int) -> Callable[[], None]:
    """Return a run of a few tokens of `width` rows, from a cache that one prompt has filled for all."""
    model, device, adapters = bench.base.model, bench.device, bench.adapters
    length = bench.place.tokens - TOKENS * (REPEATS + 1)
    ids = torch.arange(max(1, length), device=device)[None] % model.config.get_text_config(decoder=True).vocab_size
    # As many adapters as there are share the rows evenly.
    cuts = [width * number // len(adapters) for number in range(len(adapters) + 1)]
    groups = [AdapterRows(one, *cut) for one, cut in zip(adapters, itertools.pairwise(cuts), strict=True)]
    bench.base.route.send([AdapterRows(None, 0, 1)])
    with arithmetic(bench.train.precision, device):
        cache: Any = preallocated_cache(model, bench.place.tokens)
        cache = model(input_ids=ids, past_key_values=cache, use_cache=True).past_key_values
    if not bench.base.loaded.capabilities.ragged_cache:
        cache.batch_repeat_interleave(width)
    else:  # as texts are written here
        for layer in cache.layers:  # views of the one row: its states are not there twice
            layer.keys, layer.values = (states.expand(width, -1, -1, -1) for states in (layer.keys, layer.values))
        filler = filler_of(model, [ids.shape[1]] * width, bench.place.tokens - ids.shape[1])
        filler.add(Prefill(range(width), [ids.shape[1]] * width, cache))
        cache = filler.cache(model.config.get_text_config(decoder=True), ids.shape[1])
    token_R1 = torch.zeros(width, 1, dtype=torch.long, device=device)
    # The first token makes the cache's buffers for so many rows.
    _decode(bench, cache, token_R1, groups, 1)
    return lambda: _decode(bench, cache, token_R1, groups, TOKENS)


@torch.no_grad()
def _decode(bench: Bench, cache: Any, token_R1: torch.Tensor, groups: Sequence[AdapterRows], tokens: int) -> None:
    bench.base.route.send(groups)
    with arithmetic(bench.train.precision, bench.device):
        for _ in range(tokens):
            mask = torch.ones(len(token_R1), cache.get_seq_length() + 1, dtype=torch.long, device=bench.device)
            bench.base.model(input_ids=token_R1, attention_mask=mask, past_key_values=cache, use_cache=True)
