"""A search on disk for the tests: points that numpy drew, each with a real record, and its space in sweep.json."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sweeps_on_disk import Trial, baseline, write_sweep

from search_spaces.points import Search, parameters_of, point_of
from search_spaces.search import as_json, log_uniform, ratio, search, uniform
from search_spaces.spreads import IntegerRange
from sweep.request.trials import letters
from trainables.config import EvalConfig, TrainConfig
from trainables.records import journal
from trainables.records.record import SweepFolder

BASE = TrainConfig(model="pocket-gpt2", data="pocket-chats")
LITTLE = EvalConfig(validation_examples=6, test_examples=8)
STARTED = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def space(trials: int = 24, **changes: Any) -> Search:
    """Return a search over rate, rank, dropout, alpha as a ratio, and prompt."""
    axes = {
        "learning_rate": log_uniform(5e-5, 5e-3),
        "lora_rank": [4, 8, 16, 32],
        "lora_dropout": uniform(0, 0.2),
        "lora_alpha": ratio("lora_rank", 1, 4),
        "prompt": ["v1", "v2"],
    }
    return search(BASE, trials=trials, **{**axes, **changes})


def drawn(one: Search, count: int, seed: int = 0) -> list[TrainConfig]:
    """Draw points of a search without conditions."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        parameters = {}
        for axis in one.axes:
            spread: Any = axis.spread
            if hasattr(spread, "values"):
                parameters[axis.name] = spread.values[int(draw.integers(len(spread.values)))]
                continue
            low, high = (np.log([spread.low, spread.high])) if spread.log else (spread.low, spread.high)
            value = float(draw.uniform(low, high))
            value = float(np.exp(value)) if spread.log else value
            parameters[axis.name] = round(value) if isinstance(spread, IntegerRange) else value
        found.append(point_of(one, parameters))
    return found


def quality_of(train: TrainConfig) -> float:
    """Return how good a configuration is: best at a rate of 1e-3, a little better with v2 and with a larger rank."""
    far = abs(np.log10(train.learning_rate) + 3)
    return float(
        np.clip(0.7 - 0.3 * far + 0.05 * (train.prompt == "v2") + 0.03 * np.log2(train.lora_rank / 4), 0.05, 0.95)
    )


def trials_of(points: Sequence[TrainConfig], **states: dict[str, Any]) -> list[Trial]:
    """Return a trial per point, A, B, ..., two at a time of a minute each; `states` changes trials by name."""
    found = []
    for place, (name, train) in enumerate(zip(letters(), points, strict=False)):
        begun = STARTED + timedelta(minutes=place // 2, seconds=place % 2)
        result = {"started_at": begun.isoformat(), "ended_at": (begun + timedelta(minutes=1)).isoformat()}
        result |= {"tokens_trained": 1000 * train.lora_rank, "wall_s": 60.0 - place % 5}
        label = f"{name}-{train.prompt}-r{train.lora_rank}-lr{train.learning_rate:g}-s{train.seed}"
        found.append(Trial(name, label, train, quality_of(train), result=result, **states.get(name, {})))
    return found


def write_search(
    folder: Path,
    one: Search | None = None,
    trials: Sequence[Trial] | None = None,
    sampler: str = "tpe",
    infeasible: Sequence[dict[str, Any]] = (),
    evaluation: EvalConfig = LITTLE,
) -> Path:
    """Write the folder of a search with its baselines and return it."""
    one = one or space()
    made = trials_of(drawn(one, one.trials)) if trials is None else trials
    prompts = sorted({trial.train.prompt for trial in made})
    write_sweep(folder, [*map(baseline, prompts), *made], evaluation)
    sweep = SweepFolder(folder)
    chosen = {"sampler": sampler, "reason": f"sampler: {sampler}, as asked"}
    kept = {**as_json(one), "chosen": chosen}
    sweep.write_manifest(sweep.manifest().model_copy(update={"search": kept, "experiment": "search_2x2x2"}))
    for row in infeasible:
        journal.append(folder / "infeasible.jsonl", row)
    assert all(parameters_of(one, trial.train) is not None for trial in made)
    return folder
