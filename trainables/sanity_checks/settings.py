"""What the settings of a plan look like: rates, scales, steps and sizes that few would mean (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainables.config import EvalConfig, TrainConfig
from trainables.sanity_checks.wording import listed

FEWEST_EVALUATED = 10
MOST_EPOCHS = 10
LEAST_READ = 0.1  # of the training examples
SCALES = (0.25, 16.0)  # of lora_alpha / lora_rank
SHOWN = 3  # values of one kind in a sentence
FACTOR = 30  # outside its usual range a learning rate is named

# Peak learning rates of adapters, by optimizer. AdamW: Hu et al. 2021 (LoRA), tables 9 to 12: 2e-4 to 5e-4 for RoBERTa,
# GPT-2 and GPT-3; Biderman et al. 2024 (LoRA learns less and forgets less) find the best between 5e-5 and 5e-4.
# Paged and 8-bit AdamW: Dettmers et al. 2023 (QLoRA), table 9: 1e-4 to 2e-4; Dettmers et al. 2022 (8-bit optimizers)
# keep the rates of 32 bits. The bundled model of two million parameters takes 1e-2, within the factor.
USUAL_RATES: dict[str, tuple[float, float]] = {
    "adamw_torch": (5e-5, 5e-4),
    "paged_adamw_32bit": (5e-5, 5e-4),
    "paged_adamw_8bit": (5e-5, 5e-4),
}

Trains = Sequence[TrainConfig]


def find(
    trains: Trains, evaluation: EvalConfig, axes: Mapping[str, Sequence[Any]], is_search: bool = False
) -> list[str]:
    """Return a sentence for every mistake that a plan's settings look like."""
    trained = [train for train in trains if not train.is_baseline]
    sentences = [check(trained, is_search) for check in CHECKS] if trained else []
    return [
        one
        for one in (*sentences, _twice(axes), _few_evaluated(evaluation), _unused_decoding(evaluation))
        if one
    ]  # fmt: skip


# --- one configuration by itself -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfigCheck:
    """A mistake that a single configuration shows; `seen` words it, and each wording is said once with its count."""

    seen: Callable[[TrainConfig], str | None]
    remedy: str

    def __call__(self, trains: Trains, is_search: bool = False) -> str | None:
        found: dict[str, int] = {}
        for train in trains:
            if said := self.seen(train):
                found[said] = found.get(said, 0) + 1
        if not found:
            return None
        shown = [*list(found)[:SHOWN], *([f"{len(found) - SHOWN} more"] if len(found) > SHOWN else [])]
        count = sum(found.values())
        many = f"{count} of {len(trains)} configurations"
        if is_search:  # judged at the ends of its ranges, which are not its points
            many = "all points" if count == len(trains) else "some points that may be drawn"
        return f"{listed(shown)} ({many}): {self.remedy}"


def _rate(train: TrainConfig) -> str | None:
    low, high = USUAL_RATES[train.optimizer]
    if low / FACTOR < train.learning_rate < high * FACTOR:
        return None
    side = "below" if train.learning_rate < low else "above"
    return (
        f"learning_rate {train.learning_rate:g} is {FACTOR} times or more {side} what adapters usually take with "
        f"{train.optimizer} ({low:g} to {high:g})"
    )


def _scale(train: TrainConfig) -> str | None:
    scale = train.lora_alpha / train.lora_rank
    if SCALES[0] <= scale <= SCALES[1]:
        return None
    return f"lora_alpha / lora_rank is {scale:g} ({train.lora_alpha:g} / {train.lora_rank})"


def _rows(train: TrainConfig) -> int:
    return train.batch_size * train.gradient_accumulation_steps


def _smaller_than_a_step(train: TrainConfig) -> str | None:
    if train.train_examples >= _rows(train):
        return None
    return f"{train.train_examples} training examples are fewer than the {_rows(train)} rows of one optimizer step"


def _epochs(train: TrainConfig) -> str | None:
    epochs = train.max_steps * _rows(train) / train.train_examples
    if epochs <= MOST_EPOCHS or train.train_examples < _rows(train):
        return None
    return f"{train.max_steps} steps read {train.train_examples} training examples {epochs:.3g} times over"


def _unread(train: TrainConfig) -> str | None:
    read = train.max_steps * _rows(train)
    if read >= LEAST_READ * train.train_examples:
        return None
    return f"{train.max_steps} steps read {read:,} of {train.train_examples:,} training examples"


def _warmup(train: TrainConfig) -> str | None:
    steps = train.warmup_steps or train.warmup_ratio * train.max_steps
    if 2 * steps <= train.max_steps:
        return None
    return f"warm-up takes {steps:.3g} of {train.max_steps} steps"


def _dropout(train: TrainConfig) -> str | None:
    return None if train.lora_dropout <= 0.5 else f"lora_dropout is {train.lora_dropout:g}"


def _decay(train: TrainConfig) -> str | None:
    return None if train.weight_decay <= 1 else f"weight_decay is {train.weight_decay:g}"


def _best_of_one(train: TrainConfig) -> str | None:
    if train.keep_checkpoint == "last" or 0 < train.eval_every_steps < train.max_steps:
        return None
    return f"keep_checkpoint is best with eval_every_steps {train.eval_every_steps} in {train.max_steps} steps"


CHECKS: tuple[ConfigCheck, ...] = (
    ConfigCheck(_rate, "too low learns nothing and too high diverges; look for a missing or doubled e-4"),
    ConfigCheck(
        _scale,
        f"beyond {SCALES[0]:g} to {SCALES[1]:g} the adapter hardly acts, or drowns the base; lora_alpha is usually one "
        "or two times lora_rank",
    ),
    ConfigCheck(_smaller_than_a_step, "a step repeats examples; lower batch_size or gradient_accumulation_steps"),
    ConfigCheck(_epochs, "so few are learnt by heart; raise train_examples or lower max_steps"),
    ConfigCheck(_unread, "the others change nothing; raise max_steps or lower train_examples"),
    ConfigCheck(_warmup, "the peak learning rate comes late or hardly at all; a tenth is usual"),
    ConfigCheck(_dropout, "most of the adapter's input is dropped; 0 to 0.1 is usual"),
    ConfigCheck(_decay, "it pulls the adapter to nothing; 0 to 0.1 is usual"),
    ConfigCheck(_best_of_one, "there is one evaluation to choose from; lower eval_every_steps"),
)


# --- the plan as a whole ---------------------------------------------------------------------------------------------


def _twice(axes: Mapping[str, Sequence[Any]]) -> str | None:
    for name, values in axes.items():
        again = next((value for index, value in enumerate(values) if value in values[:index]), None)
        if again is not None:
            shown = f"{again:g}" if isinstance(again, float) else str(again)
            return f"the axis {name} has {shown} twice: equal configurations are one trial; was another value meant?"
    return None


def _few_evaluated(evaluation: EvalConfig) -> str | None:
    few = [f"{count} {split}" for split, count in evaluation.examples.items() if count < FEWEST_EVALUATED]
    return (
        f"only {listed(few)} examples are evaluated: below {FEWEST_EVALUATED} no difference between configurations can "
        "be told from chance; raise --eval-examples" if few else None
    )  # fmt: skip


def _unused_decoding(evaluation: EvalConfig) -> str | None:
    decoding = evaluation.decoding
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} if decoding.strategy != "sample" else {}
    beams = {"num_beams": 1} if decoding.strategy != "beam" else {}
    unused = [name for name, default in {**sampling, **beams}.items() if getattr(decoding, name) != default]
    if unused:
        return f"{listed(unused)} changes nothing under the decoding strategy {decoding.strategy}: was another meant?"
    if decoding.strategy == "beam" and decoding.num_beams == 1:
        return "a beam search with num_beams 1 is greedy: raise num_beams, or take greedy"
    return None
