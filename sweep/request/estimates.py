"""What a plan needs before it runs: parameters, tokens, disk and memory, from a model's files alone (no torch)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sweep.request.output_folder import existing_part
from sweep.request.trials import PlannedTrial
from trainables.config import EvalConfig, TrainConfig
from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.model_files import completeness, layer_shapes
from trainables.packed.workload import FP32_BYTES
from trainables.startup_progress import stage
from trainables.tokenization import encoder as encoders
from trainables.tokenization.prompt_lengths import PromptLengths, check_lengths
from trainables.units import size

BYTES_PER_WEIGHT = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "auto": 4.0}
NF4_BYTES_PER_WEIGHT = 0.56  # 4 bits and their doubly quantized scales; embeddings stay as they are
CHECKPOINT_SIZES = 3  # an adapter with its two moments, in fp32
PREDICTION_BYTES = 2_000  # of one example: text, scores and their keys
REPORT_BYTES = 32 * 2**20  # tables, curves, Ray's own state
RESERVE_BYTES = 256 * 2**20
# The layers that make queries, keys and values, as families of models call them.
ATTENTION_INPUTS = (
    ("c_attn",),
    ("q_proj", "k_proj", "v_proj"),
    ("query_key_value",),
    ("qkv_proj",),
    ("Wqkv",),
    ("query", "key", "value"),
)


@dataclass(frozen=True)
class TrialNeeds:
    """What one trial needs: bytes on disk and at the peak of its training, as predicted."""

    trainable_parameters: int
    total_parameters: int
    disk_bytes: int
    memory_bytes: int


def needs_of(train: TrainConfig, evaluation: EvalConfig, folder: str) -> TrialNeeds:
    """Predict what a trial needs; raises UserError for a target module or a rank that the model cannot take."""
    trainable = 0 if train.is_baseline else _trainable(folder, train.lora_rank, train.target_modules)
    adapter_bytes = trainable * FP32_BYTES
    examples = sum(evaluation.examples.values())
    # While a checkpoint replaces another, both are there.
    disk = adapter_bytes * (1 + 2 * CHECKPOINT_SIZES) + examples * PREDICTION_BYTES
    return TrialNeeds(trainable, _total(folder), disk, _memory_bytes(train, folder, trainable))


def largest(planned: Iterable[PlannedTrial], folders: Mapping[str, str]) -> list[PlannedTrial]:
    """Return the trial that takes most of a disk, as a list; an empty one of none."""
    needs = {
        needs_of(one.trial.train, one.trial.evaluation, folders[one.trial.train.model]).disk_bytes: one
        for one in planned
    }
    return [needs[max(needs)]] if needs else []


def layers_in_place_of(targets: Sequence[str], folder: str) -> tuple[str, ...] | None:
    """Return what a model calls the layers that read attention's input, None where it has `targets` by their names.

    So that an experiment made for one family (`c_attn` in GPT-2) runs on a model of another one (q, k and v in Llama).
    """
    known = {name.rsplit(".", 1)[-1] for name in layer_shapes.linear_shapes(folder)}
    if known.issuperset(targets) or not any(set(targets) <= set(names) for names in ATTENTION_INPUTS):
        return None
    return next((names for names in ATTENTION_INPUTS if known.issuperset(names)), None)


@lru_cache(maxsize=1024)
def _trainable(folder: str, rank: int, targets: tuple[str, ...]) -> int:
    return layer_shapes.lora_parameters(folder, rank, targets)


@lru_cache(maxsize=32)
def _total(folder: str) -> int:
    return layer_shapes.total_parameters(folder)


@lru_cache(maxsize=32)
def _architecture(folder: str) -> tuple[int, int, int]:
    """Return width, layers and vocabulary of a model; zeros where its configuration calls them otherwise."""
    config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    config = {**config, **(config.get("text_config") or {})}
    keys = (("hidden_size", "n_embd", "d_model"), ("num_hidden_layers", "n_layer"), ("vocab_size",))
    width, layers, vocabulary = (next((int(config[key]) for key in names if config.get(key)), 0) for names in keys)
    return width, layers, vocabulary


def _memory_bytes(train: TrainConfig, folder: str, trainable: int) -> int:
    """Base, adapter with gradient and moments, activations of a micro-batch at full length, logits of its summaries."""
    width, layers, vocabulary = _architecture(folder)
    per_weight = NF4_BYTES_PER_WEIGHT if train.quantization == "nf4" else BYTES_PER_WEIGHT[train.precision]
    half = 2 if train.precision in ("fp16", "bf16") else 4
    positions = train.batch_size * train.max_length_tokens
    kept_layers, kept_values = (1, 34) if train.gradient_checkpointing else (layers, 34)
    activations = positions * width * (kept_layers * kept_values + layers) * half
    logits = train.batch_size * (train.max_length_tokens // 4) * vocabulary * 3 * FP32_BYTES
    optimizer = 4 if train.optimizer != "paged_adamw_8bit" else 2.5
    return int(_total(folder) * per_weight + trainable * FP32_BYTES * optimizer + activations + logits)


def least_bytes(train: TrainConfig, folder: str) -> int:
    """Return what the weights of base and adapter take, with gradient and moments: less than any training needs."""
    trainable = 0 if train.is_baseline else _trainable(folder, train.lora_rank, train.target_modules)
    per_weight = NF4_BYTES_PER_WEIGHT if train.quantization == "nf4" else BYTES_PER_WEIGHT[train.precision]
    if train.precision == "auto":
        per_weight = min(per_weight, BYTES_PER_WEIGHT["bf16"])
    return int(_total(folder) * per_weight + trainable * FP32_BYTES * 2.5)


@stage("reading the model's shapes")
def check_models(
    trains: Iterable[TrainConfig], evaluation: EvalConfig, folders: Mapping[str, str], length_is_asked: bool
) -> None:
    """Raise UserError for a quantized base, and for a layer, rank or length that a trial's model does not have.

    A length that nobody chose for this model is cut to its context instead.
    """
    for train in {_kind(train): train for train in trains}.values():  # many need one look
        folder = folders[train.model]
        layer_shapes.check_not_quantized(folder)
        if not train.is_baseline:
            _trainable(folder, train.lora_rank, train.target_modules)
        context = _context(folder)
        if length_is_asked and context and train.max_length_tokens > context:
            raise UserError(
                f"max_length_tokens must be at most {context}, the context of {train.model}, "
                f"got {train.max_length_tokens}"
            )
        check_new_tokens(train, evaluation, folder)


def _kind(train: TrainConfig) -> tuple[Any, ...]:
    return (train.model, train.is_baseline, train.lora_rank, train.target_modules, train.max_length_tokens)


def check_new_tokens(train: TrainConfig, evaluation: EvalConfig, folder: str) -> None:
    """Raise UserError where summaries may be as long as prompt and summary together may be."""
    limit = limit_tokens(train, folder)
    if evaluation.max_new_tokens >= limit:
        whose = "max_length_tokens" if limit == train.max_length_tokens else f"the context of {train.model}"
        raise UserError(
            f"max_new_tokens must be below {limit}, the tokens of prompt and summary together ({whose}), "
            f"got {evaluation.max_new_tokens}"
        )


def check_weights(folders: Iterable[str], trust_remote_code: bool, may_load_torch: bool) -> None:
    """Raise UserError for a model that lacks weights, or has others than its configuration asks for."""
    for folder in folders:
        layer_shapes.check_not_quantized(folder)
        completeness.check_headers(Path(folder), trust_remote_code, may_load_torch)


@lru_cache(maxsize=32)
def _context(folder: str) -> int | None:
    return encoders.context_length(folder)


def limit_tokens(train: TrainConfig, folder: str) -> int:
    """Return the longest row of a trial: its own limit, or the model's context."""
    return min(train.max_length_tokens, _context(folder) or train.max_length_tokens)


@stage("counting the tokens of prompts and examples")
def check_prompts(
    planned: Iterable[PlannedTrial],
    folders: Mapping[str, str],
    training: Mapping[int, Sequence[Example]],
    evaluation: Mapping[str, Sequence[Example]],
) -> list[PromptLengths]:
    """Raise UserError where more than half of the examples does not fit; `training` is by data_seed."""
    groups: dict[tuple[str, int], dict[str, str]] = {}
    subsets: dict[tuple[str, int], dict[tuple[int, int], None]] = {}
    max_new_tokens = 0
    for trial in planned:
        train, max_new_tokens = trial.trial.train, trial.trial.evaluation.max_new_tokens
        key = (folders[train.model], limit_tokens(train, folders[train.model]))
        groups.setdefault(key, {})[train.prompt] = train.prompt_template
        if not train.is_baseline:
            subsets.setdefault(key, {})[train.data_seed, train.train_examples] = None
    found: list[PromptLengths] = []
    for (folder, limit), prompts in groups.items():
        encoder = encoders.load_encoder(folder)
        for split, examples in evaluation.items():
            found += check_lengths(encoder, prompts, examples, limit, max_new_tokens, split)
        for seed, count in subsets.get((folder, limit), ()):
            # A sample tells as much: the engine counts every example that does not fit.
            found += check_lengths(encoder, prompts, training[seed][: min(count, 256)], limit, 0, "training")
    return found


def check_disk(out: Path, need_bytes: int) -> None:
    """Raise UserError where the disk of `out` lacks the room that the plan needs."""
    place = existing_part(out)
    free = shutil.disk_usage(place).free
    if need_bytes > free:
        raise UserError(
            f"the disk of {place} has {size(free)} free and this sweep needs about "
            f"{size(need_bytes)}; free some, or choose another --out"
        )


def disk_need(
    planned: Iterable[PlannedTrial], folders: Mapping[str, str], rows: Iterable[Sequence[Example]] = ()
) -> int:
    """Return the bytes that these trials, the examples and the reports will take, with a reserve."""
    trials = sum(needs_of(t.trial.train, t.trial.evaluation, folders[t.trial.train.model]).disk_bytes for t in planned)
    data = sum(len(example.source) + 400 for examples in rows for example in examples)
    return trials + data + REPORT_BYTES + RESERVE_BYTES
