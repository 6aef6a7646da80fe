"""What can change a result: the frozen configuration of a trial, in two parts with two identities (no torch).

`TrainConfig` determines the weights (`train_id`), `EvalConfig` determines an evaluation of them (`eval_id`).
A new evaluation never retrains. Engine, pack width, device and paths are in the record, never in an identity.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from trainables.errors import UserError, nearest, shown
from trainables.metric_table import EXTERNAL, FAMILIES
from trainables.units import is_number

Quantization = Literal["none", "nf4"]
Precision = Literal["auto", "fp32", "fp16", "bf16"]
Optimizer = Literal["adamw_torch", "paged_adamw_8bit", "paged_adamw_32bit"]
Schedule = Literal["linear", "cosine", "constant"]

MOST_STEPS = 10_000_000  # the longest pre-trainings take some millions
MOST_ROWS = 65_536  # of a micro-batch, and micro-batches of a step
MOST_COUNT = 10**9  # of anything else
MOST_SEED = 2**32 - 1  # the largest that numpy's and the Trainer's generators take

# Strict validation takes no list for a tuple, and JSON knows lists alone.
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
Count = Annotated[int, Field(le=MOST_COUNT)]


Config = TypeVar("Config", bound=BaseModel)


def as_printed(value: Any) -> Any:
    """Return a numpy value as the Python value that it prints as: numpy.float32(1e-3) is 0.001; others as they are."""
    numpy = sys.modules.get("numpy")  # a value of it cannot be there before
    if isinstance(value, list | tuple):
        return type(value)(map(as_printed, value)) if type(value) in (list, tuple) else value
    if numpy is None or not isinstance(value, numpy.generic | numpy.ndarray):
        return value
    if isinstance(value, numpy.ndarray):
        return [as_printed(one) for one in value] if value.ndim else as_printed(value[()])
    kinds = (
        (numpy.bool_, bool),
        (numpy.integer, int),
        (numpy.floating, lambda one: float(str(one))),
        (numpy.str_, str),
    )
    return next((read(value) for kind, read in kinds if isinstance(value, kind)), value)


class Frozen(BaseModel):
    """A configuration that cannot be changed: no text for a number, no unknown key, no number that is not finite."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _as_printed(cls, values: Any) -> Any:
        return {key: as_printed(value) for key, value in values.items()} if isinstance(values, dict) else values


class TrainConfig(Frozen):
    """Everything that determines the weights of a trial."""

    model: str = Field(min_length=1, description="base model: hub name, folder, or the bundled pocket-gpt2")
    data: str = Field(min_length=1, description="data set: samsum, hub name, folder, file, or the bundled pocket-chats")
    source_field: str = Field(default="dialogue", min_length=1, description="field that holds the text to summarize")
    target_field: str = Field(default="summary", min_length=1, description="field that holds the reference summary")
    prompt: str = Field(default="v1", min_length=1, description="name of the prompt template")
    prompt_template: str = Field(default="", description="text of that template, filled in by the plan")
    tokenization: Literal["either", "whole", "parts"] = Field(
        default="either",
        description="prompt and summary as one text, or in parts as before 2026-11-30; either: both give the same ids",
    )
    train_examples: Count = Field(default=64, ge=1, description="examples; subsets of one data_seed are nested")
    data_seed: int = Field(default=42, ge=0, le=MOST_SEED, description="seed of training subset and epochs' order")
    seed: int = Field(default=42, ge=0, le=MOST_SEED, description="seed of initialization, dropout and sampling")
    max_length_tokens: Count = Field(default=512, ge=48, description="longest prompt and summary together, in tokens")
    quantization: Quantization = Field(default="none", description="4-bit NF4 double quantization of the base, or none")
    precision: Precision = Field(default="auto", description="of the base's arithmetic; adapters and moments are fp32")
    gradient_checkpointing: bool = Field(default=False, description="recompute activations: less memory, more time")
    lora_rank: int = Field(default=8, ge=1, le=4096, description="rank of the adapter")
    lora_alpha: float = Field(default=16, gt=0, description="adapter output is scaled by lora_alpha / lora_rank")
    lora_dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout on the adapter's input")
    target_modules: Names = Field(default=("c_attn",), min_length=1, description="names of the adapted linear layers")
    optimizer: Optimizer = Field(default="adamw_torch", description="AdamW, or its paged 8-bit or 32-bit form")
    learning_rate: float = Field(default=2e-4, gt=0, description="peak learning rate")
    schedule: Schedule = Field(default="linear", description="decay of the learning rate after warm-up, to zero")
    warmup_steps: Count = Field(default=0, ge=0, description="optimizer steps of linear warm-up")
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1, description="warm-up as a share of max_steps")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay")
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are clipped to this norm")
    max_steps: int = Field(default=32, ge=0, le=MOST_STEPS, description="optimizer steps; 0 is a zero-shot baseline")
    batch_size: int = Field(default=2, ge=1, le=MOST_ROWS, description="examples in a micro-batch")
    gradient_accumulation_steps: int = Field(default=2, ge=1, le=MOST_ROWS, description="micro-batches in a step")
    keep_checkpoint: Literal["last", "best"] = Field(default="last", description="weights kept; best by eval_loss")
    eval_every_steps: Count = Field(default=4, ge=0, description="steps between evaluations; 0: only at the end")
    generate_every_steps: Count = Field(default=0, ge=0, description="steps between generations in training; 0: never")
    generate_examples: Count = Field(default=10, ge=1, description="examples of a generation in training")

    @model_validator(mode="after")
    def _one_warmup(self) -> TrainConfig:
        if self.warmup_steps and self.warmup_ratio:
            raise ValueError("give warmup_steps or warmup_ratio, not both")
        if self.max_steps and self.warmup_steps >= self.max_steps:
            raise ValueError(f"warmup_steps must be below max_steps={self.max_steps}, got {self.warmup_steps}")
        return self

    @property
    def is_baseline(self) -> bool:
        return self.max_steps == 0


class Decoding(Frozen):
    """How text is generated."""

    strategy: Literal["greedy", "beam", "sample"] = "greedy"
    num_beams: int = Field(default=1, ge=1, le=1024, description="beams of a beam search")
    temperature: float = Field(default=1.0, gt=0, description="of sampling")
    top_k: Count = Field(default=0, ge=0, description="sampling keeps the k likeliest tokens; 0: all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="sampling keeps the nucleus of this mass")
    repetition_penalty: float = Field(default=1.0, gt=0, description="divides logits of tokens already in the row")


DECODINGS: dict[str, Decoding] = {
    "greedy": Decoding(),
    "beam4": Decoding(strategy="beam", num_beams=4),
    "original": Decoding(strategy="sample", temperature=0.7, top_k=40, top_p=0.9, repetition_penalty=1.1),
}

_EXTERNAL = re.compile(
    r"evaluate:(?P<at>[^#?]+)(?:#(?P<key>[\w.-]*)(?:/(?P<by>\d+))?)?(?:\?(?P<options>.*))?", re.DOTALL
)


@dataclass(frozen=True)
class External:
    """A metric of the `evaluate` library: `entry` is how an evaluation names it (`scoring.evaluate_library`)."""

    entry: str
    location: str
    key: str
    divisor: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return Path(self.location).stem

    @property
    def score_name(self) -> str:
        """Return the name of its score, which no score of our own has: evaluate_NAME_KEY."""
        return EXTERNAL + re.sub(r"\W", "_", "_".join(filter(None, (self.name, self.key))))


def external_of(metric: str) -> External | None:
    """Return the metric of the `evaluate` library that an entry of an evaluation names, None for any other."""
    match = _EXTERNAL.fullmatch(metric)
    if match is None or (match["by"] and not int(match["by"])):
        return None
    options = {name: _option(value) for name, value in parse_qsl(match["options"] or "")}
    return External(metric, match["at"], match["key"] or "", int(match["by"] or 1), options)


def _option(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


class EvalConfig(Frozen):
    """Everything that determines an evaluation of given weights; zero examples leave a split out."""

    decoding: Decoding = Field(default=Decoding(), description="how text is generated")
    max_new_tokens: Count = Field(default=128, ge=1, description="longest generated summary, in tokens")
    validation_examples: Count = Field(default=64, ge=0, description="examples that the choice is made on")
    test_examples: Count = Field(default=128, ge=0, description="examples that the report is made on")
    metrics: Names = Field(default=("rouge",), min_length=1, description="text metrics, computed from predictions")
    curve_examples: Count | None = Field(
        default=None, ge=1, description="validation examples of the curves; none said: as many as are evaluated"
    )

    @model_validator(mode="after")
    def _something(self) -> EvalConfig:
        if not self.validation_examples and not self.test_examples:
            raise ValueError("validation_examples and test_examples must not both be 0")
        external = [one for metric in self.metrics if (one := external_of(metric))]
        for metric in self.metrics:
            if metric not in FAMILIES and metric not in [one.entry for one in external]:
                known = (*FAMILIES, "evaluate:NAME_OR_PATH")
                raise ValueError(f"metrics: {metric!r} is unknown; {nearest(metric, known)}")
        if len(external) == len(self.metrics):
            raise ValueError(f"metrics: name one of {', '.join(FAMILIES)} beside a metric of evaluate")
        if len({one.score_name for one in external}) < len(external):
            raise ValueError("metrics: two metrics of evaluate have the same name")
        return self

    @property
    def examples(self) -> dict[str, int]:
        """Number of examples per split, splits without any left out."""
        sizes = {"validation": self.validation_examples, "test": self.test_examples}
        return {split: size for split, size in sizes.items() if size}

    @property
    def on_curve(self) -> int:
        """Number of validation examples whose loss a training's curve is."""
        return self.validation_examples if self.curve_examples is None else self.curve_examples


# A curve is of other weights than those evaluated: how much of it there is changes no evaluation.
NOT_EVALUATION = {"curve_examples"}
# Fields that cannot change the weights: cadence of the curves, and recomputation.
NOT_WEIGHTS = {"gradient_checkpointing", "eval_every_steps", "generate_every_steps", "generate_examples"}
# Fields that determine a baseline: what it reads and computes with; nothing of training.
BASELINE_FIELDS = (
    "model",
    "data",
    "source_field",
    "target_field",
    "prompt",
    "prompt_template",
    "max_length_tokens",
    "quantization",
    "precision",
)


class TrialConfig(Frozen):
    """One resolved point of an experiment: how it trains and how it is evaluated."""

    train: TrainConfig
    evaluation: EvalConfig

    @property
    def train_id(self) -> str:
        """Identity of the weights, 8 hexadecimal digits."""
        fields = self.train.model_dump(mode="json")
        # Of trials before there was this field, and of those whose ids it does not change, the identity is as it was.
        whole = {"tokenization": "whole"} if self.train.tokenization == "whole" else {}
        if self.train.is_baseline:
            keys: list[str] = list(BASELINE_FIELDS)
            # Greedy and beam baselines do not depend on a seed: they run once, whatever the replicates.
            if self.evaluation.decoding.strategy == "sample":
                keys.append("seed")
            return digest({"baseline": {**{key: fields[key] for key in keys}, **whole}})
        keep = {key: value for key, value in fields.items() if key not in {*NOT_WEIGHTS, "tokenization"}} | whole
        if self.train.keep_checkpoint == "best":
            keep["eval_every_steps"] = self.train.eval_every_steps
            keep["validation_examples"] = self.evaluation.on_curve
        return digest({"train": keep})

    @property
    def eval_id(self) -> str:
        """Identity of the evaluation, 8 hexadecimal digits."""
        return eval_id(self.evaluation)


def eval_id(evaluation: EvalConfig) -> str:
    """Return the identity of an evaluation, 8 hexadecimal digits."""
    return digest(evaluation.model_dump(mode="json", exclude=NOT_EVALUATION))


def generation_id(evaluation: EvalConfig) -> str:
    """Return the identity of an evaluation's texts: the same under other metrics."""
    return digest(evaluation.model_dump(mode="json", exclude={"metrics", *NOT_EVALUATION}))


def digest(value: Any) -> str:
    """Return the first 8 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def configured(kind: type[Config], values: dict[str, Any]) -> Config:
    """Build a configuration; raises UserError with key, value, rule and nearest name where it is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(kind, error)) from None


def explain(kind: type[BaseModel], error: ValidationError) -> str:
    """Return a validation error as sentences with key, rule, value and nearest name."""
    details = error.errors()
    # A list whose parts are wrong is then said to be too short as well.
    whole = {detail["loc"][0] for detail in details if len(detail["loc"]) > 1}
    told = [one for one in details if len(one["loc"]) != 1 or one["loc"][0] not in whole]
    return "; ".join(_sentence(kind, detail) for detail in told)


def _sentence(kind: type[BaseModel], detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{key!r} is not a field of {kind.__name__}; {nearest(key, kind.model_fields)}"
    if detail["type"] == "missing":
        return f"{key} is required"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    rule = detail["msg"].replace("Input should be", "must be")
    if not rule.startswith("must"):
        rule = f"is wrong ({rule})"
    choices = (detail.get("ctx") or {}).get("expected", "")
    text = isinstance(detail["input"], str)
    known = [choice.strip("' ") for choice in choices.replace(" or ", ",").split(",")] if choices else []
    hint = f"; {nearest(detail['input'], known)}" if known and text else ""
    if text and detail["type"].startswith(("float", "int")) and is_number(detail["input"]):
        hint = f"; write {key}={detail['input']} without quotes"
    return f"{key} {rule}, got {shown(detail['input'])}{hint}"
