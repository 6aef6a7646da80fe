"""The work that every benchmark does: the eight configurations of grid_2x2x2, over a model and data of one size.

LoRA dropout is 0 in every system, so that their losses can be compared: no two libraries draw the same masks. The
learning rates are the grid's own in all sizes: at those of the bundled model, 20 times higher, training in bf16 is
chaotic, and one and the same peer gives losses 2% apart when its batches are padded otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bases import LARGE, Base, find_base
from search_spaces.grid import Grid, expand
from search_spaces.grid_2x2x2 import experiment as grid_2x2x2
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.data.corpus import Corpus, evaluation_order, training_order
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import resolve_data
from trainables.prompts import template_of
from trainables.records.record import SweepFolder

EVALUATION_EXAMPLES, NEW_TOKENS, CADENCE_STEPS = 10, 60, 4


@dataclass(frozen=True)
class Work:
    """Configurations to train and evaluate alike by every system."""

    size: str
    base: Base
    trials: tuple[TrialConfig, ...]

    @property
    def first(self) -> TrainConfig:
        return self.trials[0].train

    def name(self, index: int) -> str:
        """Return the letter of a configuration, with its number where letters repeat."""
        return chr(ord("A") + index % 8) + (str(index // 8 + 1) if index >= 8 else "")

    def write_examples(self, folder: Path, looked_at: int = EVALUATION_EXAMPLES) -> SweepFolder:
        """Write the examples where an engine looks for them: the same files as `sweep run` writes."""
        sweep = SweepFolder(folder)
        corpus = _corpus(self.base.data)
        chosen = training_order(corpus.splits["train"], self.first.data_seed)[: self.first.train_examples]
        sweep.write_examples(sweep.train_examples_path(self.first.data_seed), [one.row() for one in chosen])
        validation = evaluation_order(corpus.splits["validation"])[:looked_at]
        sweep.write_examples(sweep.evaluation_examples_path("validation"), [one.row() for one in validation])
        return sweep


def _corpus(data: str) -> Corpus:
    return load_corpus(resolve_data(data), "dialogue", "summary", needed=("train", "validation"))


def make_work(size: str, precision: str, trials: int = 8, steps: int = 32, real: Path | None = None) -> Work:
    """Return the first `trials` configurations of the grid, repeated with other seeds beyond the eighth."""
    base = find_base(size, real)
    fields: dict[str, Any] = {
        **grid_2x2x2.grid.base.model_dump(),
        "model": str(base.model_folder),
        "data": base.data,
        "precision": precision,
        **(LARGE[size].fields if size in LARGE else {}),
        "lora_dropout": 0.0,
        "max_steps": steps,
        "eval_every_steps": CADENCE_STEPS,
        "generate_every_steps": CADENCE_STEPS,
        "generate_examples": EVALUATION_EXAMPLES,
    }
    configurations = expand(Grid(TrainConfig(**fields), grid_2x2x2.grid.axes))
    evaluation = EvalConfig(
        max_new_tokens=NEW_TOKENS, validation_examples=EVALUATION_EXAMPLES, test_examples=0, metrics=("rouge",)
    )
    found = []
    for index in range(trials):
        train = configurations[index % len(configurations)]
        changes = {
            "prompt_template": template_of(train.prompt, {}),
            "tokenization": "whole",
            "seed": train.seed + index // len(configurations),
        }
        found.append(TrialConfig(train=train.model_copy(update=changes), evaluation=evaluation))
    return Work(size, base, tuple(found))


def to_json(work: Work) -> str:
    """Return the work as text, for the process of a peer."""
    base = {**vars(work.base), "model_folder": str(work.base.model_folder)}
    return json.dumps({"size": work.size, "base": base, "trials": [one.model_dump(mode="json") for one in work.trials]})


def from_json(text: str) -> Work:
    """Return the work of `to_json`."""
    read = json.loads(text)
    base = read["base"]
    return Work(
        read["size"],
        Base(Path(base["model_folder"]), base["data"], tuple(base["notes"])),
        tuple(TrialConfig.model_validate(one) for one in read["trials"]),
    )
