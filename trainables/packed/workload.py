"""What the trials of one base are to do, as far as the size of their pack depends on it (no torch).

The engine measures for it and a plan looks up what was measured, so both have it from here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from trainables.config import TrainConfig, TrialConfig
from trainables.model_files.layer_shapes import lora_parameters
from trainables.packed.pack_size import TOKENS_AT_ONCE, MeasurementKey, Workload
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples

TOKENS_STEP = 64
SAMPLE = 64  # rows of the training set that stand for its length
LONGEST_SAMPLE = 512  # and for the longest
FP32_BYTES = 4
# Numbers kept per weight of an adapter: itself, its gradient, and two moments, which may have a byte each.
FLOATS = {"paged_adamw_8bit": 2.5}


@dataclass(frozen=True)
class BaseTask:
    """The trials of one base as they are measured: `train` stands for them, with `rows` of about `tokens` each."""

    train: TrainConfig
    folder: str
    rows: Sequence[TokenRow]
    tokens: int
    longest: int
    load: Workload

    @property
    def rows_at_once(self) -> int:
        """Rows of one adapter that are measured together: whole micro-batches of its step."""
        size = self.train.batch_size
        count = min(self.train.gradient_accumulation_steps, TOKENS_AT_ONCE // (size * self.tokens))
        return size * max(1, count)

    def train_scale(self, train: TrainConfig) -> float:
        """Return the tokens of this trial's largest batch against those measured."""
        whole = train.batch_size * self.longest
        largest = max(whole, min(TOKENS_AT_ONCE, whole * train.gradient_accumulation_steps))
        return max(1.0, largest / (self.rows_at_once * self.tokens))

    def place(self, device: str, threads: int) -> MeasurementKey:
        """Return the key of a measurement for these trials on a device of this name."""
        return MeasurementKey(
            device=device,
            threads=threads,
            torch=importlib.metadata.version("torch"),
            model=shape_of(self.folder),
            precision=self.train.precision,
            quantization=self.train.quantization,
            recomputes=self.train.gradient_checkpointing,
            rows=self.rows_at_once,
            tokens=self.tokens,
        )


def task_of(tokenized: TokenizedExamples, trials: Sequence[TrialConfig]) -> BaseTask | None:
    """Return what the trials of one base are to do, None where none of them trains or no row fits."""
    training = [one.train for one in trials if not one.train.is_baseline]
    if not training:
        return None
    sizes = [train.batch_size for train in training]
    common = max(sorted(set(sizes)), key=sizes.count)
    train = max((one for one in training if one.batch_size == common), key=lambda one: one.gradient_accumulation_steps)
    rows = [row for row in tokenized.train_rows(train, SAMPLE) if row.fits]
    if not rows:
        return None
    lengths = [_length(row) for row in rows]
    mean = -(-sum(lengths) // len(lengths))
    tokens = min(-(-mean // TOKENS_STEP) * TOKENS_STEP, tokenized.limit_tokens(train))
    kinds = {(one.model, one.lora_rank, one.target_modules, one.optimizer): one for one in training}
    adapters = [adapter_bytes(tokenized, one) for one in kinds.values()]
    most = longest(trials, tokenized)
    load = Workload(
        trials=len(trials),
        adapter_bytes=max(adapters),
        request_rows=smallest_request(trials),
        scale=max(1.0, most / tokens),
        least_adapter_bytes=min(adapters),
    )
    task = BaseTask(train, str(tokenized.folder(train)), rows, tokens, most, load)
    return replace(task, load=replace(load, train_scale=max(map(task.train_scale, training))))


def longest(trials: Sequence[TrialConfig], tokenized: TokenizedExamples) -> int:
    """Return the tokens of the longest row that is trained on or written, as far as a sample tells."""
    found = 1
    for one in {one.train.prompt: one for one in trials if not one.train.is_baseline}.values():
        rows = [row for row in tokenized.train_rows(one.train, LONGEST_SAMPLE) if row.fits]
        written = max((len(row.prompt_ids) for row in rows), default=0) + one.evaluation.max_new_tokens
        found = max([found, min(written, tokenized.limit_tokens(one.train)), *(_length(row) for row in rows)])
    return found


def adapter_bytes(tokenized: TokenizedExamples, train: TrainConfig) -> int:
    """Return the bytes of a trial's adapter with its gradient and moments."""
    count = lora_parameters(tokenized.folder(train), train.lora_rank, train.target_modules)
    return int(count * FP32_BYTES * FLOATS.get(train.optimizer, 4))


def smallest_request(trials: Sequence[TrialConfig]) -> int:
    """Return the rows of the smallest generation that some trial has made, beams counted."""
    found = []
    for one in trials:
        decoding = one.evaluation.decoding
        sizes = list(one.evaluation.examples.values())
        if one.train.generate_every_steps and not one.train.is_baseline:
            sizes.append(one.train.generate_examples)
        found.append(min(sizes) * (decoding.num_beams if decoding.strategy == "beam" else 1))
    return min(found, default=1)


@lru_cache(maxsize=32)
def shape_of(folder: str) -> str:
    """Return a fingerprint of a model's configuration file: how fast it is depends on its shape alone."""
    try:
        return hashlib.sha256((Path(folder) / "config.json").read_bytes()).hexdigest()[:12]
    except OSError:
        return "unknown"


def _length(row: TokenRow) -> int:
    return len(row.prompt_ids) + len(row.target_ids)
