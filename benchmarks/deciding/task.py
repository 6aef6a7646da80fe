"""The decision to be made: sixteen configurations, the dialogues that they are judged on, and how good each truly is.

The data are the bundled ones: its training split as it is, and for every seed other validation dialogues of the same
generator, so that seeds differ in what a system sees of the configurations and never in how good these are. The truth
are 1,000 further dialogues that no system is shown, written once for each configuration and kept.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.bases import Base, find_base
from benchmarks.project import AXES
from benchmarks.work import NEW_TOKENS, Work
from search_spaces.grid import Grid, expand
from search_spaces.grid_2x2x2 import experiment as grid_2x2x2
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.pocket import corpus
from trainables.prompts import template_of
from trainables.records import atomic_files

LOOKED_AT = 64  # validation examples of a system that does not choose their number
REPORTED_ON = 128  # test examples of this project's report
HELD_OUT = 1000
# Ranks are near ties here, the smaller two rates are poor.
VALUES: dict[str, tuple[Any, ...]] = {
    "prompt": ("v1", "v2"),
    "lora_rank": (8, 16),
    "learning_rate": (1e-2, 4e-3, 1e-3, 2e-4),
}
# Records of the generator beyond those of the bundled splits, so that no two parts share a dialogue.
FIRST_HELD_OUT, FIRST_VALIDATION = 10_000, 20_000


@dataclass(frozen=True)
class Task:
    """The decision of one seed, as work for the systems: its configurations in that seed's order, its data."""

    seed: int
    work: Work

    def order(self) -> tuple[int, ...]:
        """Return the configurations in the order in which a peer is given them."""
        found = list(range(len(self.work.trials)))
        random.Random(self.seed).shuffle(found)
        return tuple(found)


def make_task(
    size: str,
    seed: int,
    folder: Path,
    configurations: int = 16,
    steps: int = 32,
    looked_at: int = LOOKED_AT,
    reported_on: int = REPORTED_ON,
    real: Path | None = None,
) -> Task:
    """Return the decision of a seed; its data are written under `folder` where the model is the bundled one.

    Fewer than 16 configurations have fewer rates.
    """
    base = find_base(size, real)
    if size == "pocket":
        base = replace(base, data=str(write_data(folder / f"data-{seed}", seed)))
    evaluation = EvalConfig(max_new_tokens=NEW_TOKENS, validation_examples=looked_at, test_examples=reported_on)
    trains = _configurations(base, size, seed, configurations // 4, steps)
    return Task(seed, Work(size, base, tuple(TrialConfig(train=one, evaluation=evaluation) for one in trains)))


def _configurations(base: Base, size: str, seed: int, rates: int, steps: int) -> list[TrainConfig]:
    """Return the configurations, each axis in an order drawn by the seed."""
    used = {**VALUES, "learning_rate": VALUES["learning_rate"][:rates]}
    axes = {name: tuple(random.Random(seed).sample(values, len(values))) for name, values in used.items()}
    fields: dict[str, Any] = {
        **grid_2x2x2.grid.base.model_dump(),
        "model": str(base.model_folder),
        "data": base.data,
        "precision": "fp32" if size == "pocket" else "bf16",
        "lora_dropout": 0.0,
        "tokenization": "whole",
        "max_steps": steps,
    }
    found = expand(Grid(TrainConfig(**fields), axes))
    return [one.model_copy(update={"prompt_template": template_of(one.prompt, {})}) for one in found]


def name_of(train: TrainConfig) -> str:
    """Return what a configuration is called whatever its place."""
    return " ".join(f"{getattr(train, name):g}" if name != "prompt" else train.prompt for name in AXES)


def write_data(folder: Path, seed: int | None, held_out: int = HELD_OUT) -> Path:
    """Write the dialogues of a seed, None: those of the truth, as its test split; returns the folder."""
    if folder.is_dir():
        return folder
    sizes = corpus.SPLIT_SIZES
    if seed is None:
        tested = _records("test", FIRST_HELD_OUT, held_out)
        validation = corpus.records("validation")
    else:
        tested = corpus.records("test")
        validation = _records("validation", FIRST_VALIDATION + seed * sizes["validation"], sizes["validation"])
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for split, rows in (("train", corpus.records("train")), ("validation", validation), ("test", tested)):
        atomic_files.write_lines(unfinished / f"{split}.jsonl", rows)
    unfinished.rename(folder)
    return folder


def _records(split: str, first: int, count: int) -> list[dict[str, str]]:
    return [corpus.record(split, index) for index in range(first, first + count)]
