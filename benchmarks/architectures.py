"""Which families train packed as alone, and which layers of theirs can have no adapter: one table, made by trying all.

A tiny random model of each family is trained and evaluated by both engines: two adapters of different ranks over every
linear layer that can have one, in one batch of the packed engine, against one after another by Trainer and PEFT.
Losses must agree within 1e-5 of themselves, texts and the number of trained parameters exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.families import FAMILIES, write_family
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.jobs import EngineSetup, TrialJob, go_on, no_report
from trainables.model_files.adaptable_layers import refusal
from trainables.model_files.layer_shapes import HEAD, linear_shapes, lora_parameters
from trainables.model_files.load_pretrained import quiet
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import TrialState
from trainables.solo.engine import SoloEngine

PAGE = Path(__file__).resolve().parents[1] / "docs" / "model_families.md"
LOSSES = 1e-5  # relative
STEPS, RANKS = 3, (1, 2)
AS_ALONE = "packed as alone"
HEADER = """# Model families

Made by `python -m benchmarks.architectures`, which tries all of them, and compared with that by a test. A tiny random
model of each family trains and is evaluated by both engines: two adapters of different ranks over all the layers that
are named here, in one batch of the packed engine, and each alone by Trainer and PEFT. "Packed as alone": losses of
every step and evaluation within 1e-5 of themselves, the same texts, and the number of trained parameters that `plan`
had counted. How far weights may be apart is in [decision 0095](decisions/0095-how-far-weights-may-part.md). Layers in
the last column are refused before anything trains, by `plan` and `run` alike; a family that is refused as a whole has
its reason in the third.

| family | adapters on | result | no adapter on |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Ran:
    """What an engine made of one trial."""

    losses: list[float]
    texts: list[str]
    trainable: int


def row_of(family: str, folder: Path) -> tuple[str, bool]:
    """Return the table's line of one family, and whether it is as it should be."""
    model = write_family(folder / "model", family)
    kinds = layers_of(model)
    targets = tuple(name for name, reason in kinds.items() if reason is None)
    refused: dict[str, list[str]] = {}
    for name, reason in kinds.items():
        if reason is not None:
            refused.setdefault(reason, []).append(name)
    try:
        result = compared(folder, model, targets)
        is_right = result == AS_ALONE
    except UserError as error:
        result, is_right = f"refused: {str(error).replace(str(model), 'the model')}", True
    others = "; ".join(f"{_named(names)}: {reason}" for reason, names in refused.items())
    return f"| {family} | {_named(targets)} | {result} | {others} |", is_right


def layers_of(model: Path) -> dict[str, str | None]:
    """Return the last parts of the names of the model's layers, each with the reason why none of them is adapted."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    found: dict[str, str | None] = {}
    for layer in linear_shapes(model):
        last = layer.rsplit(".", 1)[-1]
        if last != HEAD and not last.isdigit() and found.get(last, "") is not None:
            found[last] = refusal(config, layer)
    return dict(sorted(found.items()))


def compared(folder: Path, model: Path, targets: tuple[str, ...]) -> str:
    """Return how the packed engine's trials compare with the same trials alone; raises UserError where none trains."""
    trials = {str(rank): _trial(targets, rank) for rank in RANKS}
    counted = {name: lora_parameters(model, one.train.lora_rank, targets) for name, one in trials.items()}
    alone, packed = (_run(folder / kind, model, trials, kind) for kind in ("solo", "packed"))
    for name in trials:
        ours, theirs = packed[name], alone[name]
        apart = max(abs(a - b) / abs(b) for a, b in zip(ours.losses, theirs.losses, strict=True))
        if not apart <= LOSSES:
            return f"NOT AS ALONE: losses are {apart:.1e} apart"
        if ours.texts != theirs.texts:
            return "NOT AS ALONE: other texts"
        if not ours.trainable == theirs.trainable == counted[name]:
            return f"COUNTED WRONG: {counted[name]}, trained {ours.trainable}, and by PEFT {theirs.trainable}"
    return AS_ALONE


def _trial(targets: tuple[str, ...], rank: int) -> TrialConfig:
    train = TrainConfig(
        model="tiny",
        data="chats",
        prompt="short",
        prompt_template="Sum up.\n{source}\nSummary:",
        train_examples=8,
        max_length_tokens=128,
        precision="fp32",
        lora_rank=rank,
        target_modules=targets,
        learning_rate=1e-3,
        batch_size=2,
        gradient_accumulation_steps=2,
        max_steps=STEPS,
        eval_every_steps=STEPS,
        seed=rank,
    )
    evaluation = EvalConfig(max_new_tokens=6, validation_examples=3, test_examples=3, metrics=("rouge",))
    return TrialConfig(train=train, evaluation=evaluation)


def _run(folder: Path, model: Path, trials: dict[str, TrialConfig], kind: str) -> dict[str, Ran]:
    sweep = _write_examples(folder)
    setup = EngineSetup(str(sweep.folder), {"tiny": str(model)}, "cpu", pack_width=len(trials))
    engine: Any = SoloEngine(setup)
    if kind == "packed":
        engine = PackedEngine(setup, together=len(trials))
        engine.pack.uses_lanes = False  # in one batch, as on a GPU
    engine.preflight(list(trials.values()))
    records = {name: TrialRecord(sweep.trials_folder / name) for name in trials}
    for index, (name, record) in enumerate(records.items()):
        record.write_config(trials[name], index, name, name)

    def run(name: str) -> Ran:
        result = engine.run(TrialJob(str(records[name].folder), trials[name]), no_report, go_on)
        if result.state != TrialState.DONE:
            raise UserError(f"{result.state}: {result.cause}")
        return _ran(records[name], trials[name], result)

    with ThreadPoolExecutor(len(trials) if kind == "packed" else 1) as threads:
        return dict(zip(trials, threads.map(run, trials), strict=True))


def _ran(record: TrialRecord, trial: TrialConfig, result: TrialResult) -> Ran:
    predictions = [row for split in trial.evaluation.examples for row in record.predictions(trial.eval_id, split)]
    curves = [row[key] for row in record.metrics() for key in ("train_loss", "eval_loss") if key in row]
    losses = [*curves, *(row["nll"] for row in predictions)]
    return Ran(losses, [row["text"] for row in predictions], result.trainable_parameters or 0)


def _write_examples(folder: Path) -> SweepFolder:
    sweep = SweepFolder(folder)

    def rows(split: str, count: int) -> list[dict[str, Any]]:
        texts = [f"{'ABCDE'[n % 5]}: see you at {7 * n % 24}\n" * (1 + n % 3) for n in range(count)]
        return [Example(f"{split}-{n}", text, (f"They meet at {n}.",)).row() for n, text in enumerate(texts)]

    sweep.write_examples(sweep.train_examples_path(42), rows("train", 8))
    for split in ("validation", "test"):
        sweep.write_examples(sweep.evaluation_examples_path(split), rows(split, 3))
    return sweep


def table(families: Iterable[str] = FAMILIES) -> tuple[str, list[str]]:
    """Return the page, and the families that are not as they should be."""
    lines, wrong = [], []
    with tempfile.TemporaryDirectory() as folder, quiet():
        for family in families:
            line, is_right = row_of(family, Path(folder, family))
            lines.append(line)
            if not is_right:
                wrong.append(family)
            print(line, file=sys.stderr, flush=True)
    return HEADER + "\n".join(lines) + "\n", wrong


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=PAGE, help="page to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    page, wrong = table()
    options.results.write_text(page, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
