"""Both engines give the ids, losses and texts that a plain loop of transformers and PEFT has given.

The base is the bundled model. The losses were computed on one processor; on another they differ in the last digits.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from engine_inputs import evaluation_of, trial
from known_answers import FOLDER, known_answers
from packs import Ran, packed_engine, run_packed, run_solo

from trainables.config import TrialConfig
from trainables.modeling import multi_lora, peft_lora
from trainables.pocket import model_folder
from trainables.records.record import SweepFolder
from trainables.solo.engine import SoloEngine

ANSWERS = known_answers("training")


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The script with the chats and the settings of the plain loop."""
    spec = importlib.util.spec_from_file_location("make_known_answers", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sweep(tmp_path: Path, plain: ModuleType) -> SweepFolder:
    folder = SweepFolder(tmp_path / "sweep")
    places = {folder.train_examples_path(42): plain.TRAIN}
    places |= {folder.evaluation_examples_path(split): plain.VALIDATION for split in ("validation", "test")}
    for path, chats in places.items():
        rows = [
            {"id": str(number), "source": source, "references": [summary]}
            for number, (source, summary) in enumerate(chats)
        ]
        folder.write_examples(path, rows)
    return folder


@pytest.fixture
def one(plain: ModuleType, monkeypatch: pytest.MonkeyPatch) -> TrialConfig:
    """The trial that the plain loop trains, with the same start of its adapter."""

    def start_of(seed: int, layer: str, shape: Sequence[int]) -> torch.Tensor:
        return torch.tensor(plain.start(layer, shape))

    for module in (peft_lora, multi_lora):
        monkeypatch.setattr(module, "start_of", start_of)
    return trial(
        evaluation_of(tokens=plain.NEW_TOKENS, validation=2, test=2),
        prompt_template=plain.TEMPLATE,
        train_examples=len(plain.TRAIN),
        batch_size=2,
        gradient_accumulation_steps=2,
        lora_rank=plain.RANK,
        lora_alpha=plain.ALPHA,
        lora_dropout=0.0,
        learning_rate=plain.RATE,
        max_steps=plain.STEPS,
        eval_every_steps=0,
    )


def by_solo(sweep: SweepFolder, one: TrialConfig) -> Ran:
    return run_solo(sweep, model_folder(), {"A": one})["A"]


def by_packed(sweep: SweepFolder, one: TrialConfig) -> Ran:
    return run_packed(packed_engine(sweep, model_folder()), sweep, {"A": one})["A"]


def validation_loss(ran: Ran) -> float:
    summary = ran.record.summary(ran.trial.eval_id)
    assert summary is not None
    return float(summary.splits["validation"]["eval_loss"])


def validation_texts(ran: Ran) -> list[str]:
    return [row["text"] for row in ran.record.predictions(ran.trial.eval_id, "validation")]


def test_prompts_and_summaries_have_the_ids_of_the_library(sweep: SweepFolder, one: TrialConfig) -> None:
    from engine_inputs import engine_of

    engine: SoloEngine = engine_of(sweep, model_folder())
    rows = engine.tokenized.evaluation_rows(one.train, "validation", 2, one.evaluation.max_new_tokens)
    assert [list(row.prompt_ids) for row in rows] == ANSWERS["prompt_ids"]
    assert [list(row.target_ids) for row in rows] == ANSWERS["target_ids"]


@pytest.mark.parametrize("run", [by_solo, by_packed])
def test_the_untrained_model_has_the_loss_and_the_texts_of_the_library(
    sweep: SweepFolder, one: TrialConfig, run: Callable[[SweepFolder, TrialConfig], Ran]
) -> None:
    train = one.train.model_copy(update={"max_steps": 0})
    ran = run(sweep, one.model_copy(update={"train": train}))
    assert validation_loss(ran) == pytest.approx(ANSWERS["before"]["eval_loss"], rel=1e-5)
    assert validation_texts(ran) == ANSWERS["before"]["texts"]


@pytest.mark.parametrize("run", [by_solo, by_packed])
def test_every_step_and_what_came_of_them_are_those_of_a_plain_loop(
    sweep: SweepFolder, one: TrialConfig, run: Callable[[SweepFolder, TrialConfig], Ran]
) -> None:
    ran = run(sweep, one)
    assert ran.column("train", "train_loss") == pytest.approx(ANSWERS["train_losses"], rel=1e-4)
    assert validation_loss(ran) == pytest.approx(ANSWERS["after"]["eval_loss"], rel=1e-4)
    assert validation_texts(ran) == ANSWERS["after"]["texts"]
