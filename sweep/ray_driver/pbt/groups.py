"""Who may take over whose weights in population-based training, and what is refused at once (no torch, no ray).

Trials form a population where the tensors of one fit another and mean the same there: equal shape (model, rank,
targets) and scale, moments of the same optimizer, the same steps and evaluations, so that losses at a step compare.
Seeds are replicates, and would be none if one continued another: each seed is a population of its own. Prompt, training
examples, batch size and schedule are the trial's own and stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from trainables.config import TrainConfig
from trainables.errors import UserError

FEWEST = 4  # a quarter of a population takes over another quarter
ALIKE = (
    "model",
    "quantization",
    "precision",
    "lora_rank",
    "lora_alpha",
    "target_modules",
    "optimizer",
    "max_steps",
    "eval_every_steps",
    "keep_checkpoint",
    "seed",
)
MUTABLE = ("learning_rate", "lora_dropout", "weight_decay")  # the first one always, the others where they are axes


def populations(trains: Mapping[str, TrainConfig]) -> list[tuple[str, ...]]:
    """Return the populations among these trials, by key and in their order; trials of smaller groups are in none."""
    return [group for group in _groups(trains) if len(group) >= FEWEST]


def _groups(trains: Mapping[str, TrainConfig]) -> list[tuple[str, ...]]:
    found: dict[tuple[object, ...], list[str]] = {}
    for key, train in trains.items():
        if not train.is_baseline and every_steps(train) is not None:
            found.setdefault(tuple(getattr(train, name) for name in ALIKE), []).append(key)
    return [tuple(group) for group in found.values()]


def every_steps(train: TrainConfig) -> int | None:
    """Return the steps from one judgement to the next: an eighth of the training, in whole evaluations of the loss.

    None where no evaluation comes before the end.
    """
    if not train.eval_every_steps:
        return None
    every = train.eval_every_steps * math.ceil(max(1, train.max_steps // 8) / train.eval_every_steps)
    return every if every < train.max_steps else None


def mutated(trains: Sequence[TrainConfig]) -> dict[str, list[float]]:
    """Return the fields that a change may touch, with the values that this population starts with, sorted."""
    values = {name: sorted({float(getattr(train, name)) for train in trains}) for name in MUTABLE}
    return {name: found for name, found in values.items() if name == MUTABLE[0] or len(found) > 1}


def check_population(
    trains: Iterable[TrainConfig], seeds: int, engine: str, limits: Mapping[str, int | None]
) -> str | None:
    """Return a sentence about configurations that are in no population, None where all are in one.

    Raises UserError where population-based training of these configurations cannot be. `limits`: how many trials can be
    live, by the option that says so.
    """
    trained = {str(number): train for number, train in enumerate(trains) if not train.is_baseline}
    if engine == "solo":
        raise UserError(
            "--scheduler pbt needs trials that train side by side, and the solo engine trains one at a time; "
            "add --engine packed"
        )
    evaluated = [train for train in trained.values() if every_steps(train) is not None]
    if trained and not evaluated:
        one = next(iter(trained.values()))
        raise UserError(
            "--scheduler pbt judges trials by evaluations in mid-training: eval_every_steps must be at least 1 and "
            f"below max_steps={one.max_steps}, got {one.eval_every_steps}"
        )
    groups = _groups(trained)
    found = [group for group in groups if len(group) >= FEWEST]
    if not found:
        raise UserError(
            f"--scheduler pbt needs at least {FEWEST} configurations that can take over each other's weights; the "
            f"largest group here that is equal in {', '.join(_apart(evaluated))} has {max(map(len, groups), default=0)}"
        )
    members = seeds * sum(map(len, found))
    for option, value in limits.items():
        if value is not None and value < members:
            raise UserError(
                f"{option} must be at least {members} with --scheduler pbt, whose trials train side by side, "
                f"got {value}"
            )
    alone = len(trained) - sum(map(len, found))
    if not alone:
        return None
    return (
        f"{alone} of {len(trained)} configurations have fewer than {FEWEST - 1} others whose weights they could take "
        "over: they train to their end as they are"
    )


def _apart(trains: Sequence[TrainConfig]) -> list[str]:
    """Return the fields that keep these trials out of one population, the plainest ones where nothing does."""
    differ = [name for name in ALIKE if len({getattr(train, name) for train in trains}) > 1]
    return differ or ["model", "lora_rank", "target_modules"]
