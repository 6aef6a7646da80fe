"""The work that every benchmark does: the eight configurations of grid_2x2x2, over a model and data of one size.

`pocket` is what the project bundles. `gpt2` is GPT-2's shape of 124 M parameters with its real tokenizer, on SAMSum;
where the trained weights are neither cached nor reachable they are drawn at random from a seed, which costs the same.
LoRA dropout is 0 in every system, so that their losses can be compared: no two libraries draw the same masks. The
learning rates are the grid's own in both sizes: at those of the bundled model, 20 times higher, training in bf16 is
chaotic, and one and the same peer gives losses 2% apart when its batches are padded otherwise.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.grid import Grid, expand
from search_spaces.grid_2x2x2 import experiment as grid_2x2x2
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.data import Corpus, evaluation_order, load_corpus, training_order
from trainables.errors import UserError
from trainables.pocket import POCKET_DATA, POCKET_MODEL
from trainables.prompts import template_of
from trainables.record import SweepFolder
from trainables.sources import resolve_data, resolve_model

HOUSE = Path(__file__).resolve().parent.parent
OUT = HOUSE / "runs" / "benchmarks"  # what is computed once, and raw measurements; git does not keep it
REAL = HOUSE.parent / "shared" / "real"
SIZES = ("pocket", "gpt2")
EVALUATION_EXAMPLES, NEW_TOKENS, CADENCE_STEPS = 10, 60, 4
GPT2_SEED = 0


@dataclass(frozen=True)
class Base:
    """A model's folder, a data set's place, and a sentence on each for the table."""

    model_folder: Path
    data: str
    notes: tuple[str, ...]


def find_base(size: str, real: Path | None = None) -> Base:
    """Return model and data of a size; raises UserError for another size, or where a tokenizer cannot be had."""
    if size not in SIZES:
        raise UserError(f"--size must be one of {', '.join(SIZES)}, got {size!r}")
    if size == "pocket":
        model = resolve_model(POCKET_MODEL)
        return Base(Path(model.folder), POCKET_DATA, ("the bundled model and chats",))
    real = real or REAL
    folder, weights = _gpt2(real)
    data, text = _samsum(real)
    return Base(folder, data, (f"GPT-2's shape, {weights}, its real tokenizer; {text}",))


def _samsum(real: Path) -> tuple[str, str]:
    if (real / "samsum").is_dir():
        return str(real / "samsum"), "SAMSum"
    try:
        resolve_data("samsum")
    except UserError:
        return POCKET_DATA, "the bundled chats"
    return "samsum", "SAMSum"


def _gpt2(real: Path) -> tuple[Path, str]:
    try:
        return Path(resolve_model("gpt2").folder), "trained weights"
    except UserError as error:
        tokenizer = real / "tokenizers" / "gpt2"
        if not (tokenizer / "tokenizer.json").is_file():
            raise UserError(f"{error}; nor is its tokenizer in {tokenizer}: give --real FOLDER") from None
    folder = OUT / "models" / "gpt2-random"
    if not (folder / "model.safetensors").is_file():
        _write_random_gpt2(folder, tokenizer)
    return folder, f"weights drawn at random (seed {GPT2_SEED})"


def _write_random_gpt2(folder: Path, tokenizer: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from trainables.model import quiet

    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with quiet():
        torch.manual_seed(GPT2_SEED)
        GPT2LMHeadModel(GPT2Config()).save_pretrained(unfinished)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, unfinished / name)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


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

    def write_examples(self, folder: Path) -> SweepFolder:
        """Write the examples where an engine looks for them: the same files as `sweep run` writes."""
        sweep = SweepFolder(folder)
        corpus = _corpus(self.base.data)
        chosen = training_order(corpus.splits["train"], self.first.data_seed)[: self.first.train_examples]
        sweep.write_examples(sweep.train_examples_path(self.first.data_seed), [one.row() for one in chosen])
        validation = evaluation_order(corpus.splits["validation"])[:EVALUATION_EXAMPLES]
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
        changes = {"prompt_template": template_of(train.prompt, {}), "seed": train.seed + index // len(configurations)}
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
