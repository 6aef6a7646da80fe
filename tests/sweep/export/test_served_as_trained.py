"""An exported adapter in plain transformers and PEFT writes the stored texts, by the program of its own card."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from sweep.export.model_card import usage
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource
from trainables.jobs import EngineSetup, TrialJob
from trainables.prompts import PROMPTS
from trainables.records.record import SweepFolder, TrialRecord

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"


def gpt2_with_its_real_tokenizer(folder: Path) -> Path:
    """A tiny random GPT-2 of the real vocabulary."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    torch.manual_seed(0)
    ends = {"eos_token_id": 50256, "bos_token_id": 50256}
    config = GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=512, **ends)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copyfile(REAL / "tokenizers" / "gpt2" / name, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
@pytest.mark.parametrize("name", ["dialogue-7M-gpt2", "gpt2"])
def test_the_program_of_the_card_writes_the_stored_texts(name: str, tmp_path: Path) -> None:
    from trainables.solo.engine import SoloEngine

    model = REAL / "models" / name if name != "gpt2" else gpt2_with_its_real_tokenizer(tmp_path / "model")
    corpus = load_corpus(DataSource("samsum", str(REAL / "samsum"), "local"), "dialogue", "summary")
    sweep = SweepFolder(tmp_path / "run")
    # Texts whose reference is shorter than a summary may be, two of them with a source that is cut.
    chosen = {split: [one for one in rows if len(one.references[0]) < 60] for split, rows in corpus.splits.items()}
    short = {
        split: [
            *[one for one in rows if len(one.source) > 900][:2],
            *[one for one in rows if len(one.source) < 400][:22],
        ]
        for split, rows in chosen.items()
    }
    sweep.write_examples(sweep.train_examples_path(42), [one.row() for one in short["train"]])
    for split in ("validation", "test"):
        sweep.write_examples(sweep.evaluation_examples_path(split), [one.row() for one in short[split]])
    train = TrainConfig(
        model="base", data="samsum", prompt_template=PROMPTS["v1"], tokenization="whole", train_examples=16,
        learning_rate=5e-3, max_steps=4, max_length_tokens=192, lora_dropout=0.0, precision="fp32", eval_every_steps=0,
    )  # fmt: skip
    trial = TrialConfig(train=train, evaluation=EvalConfig(max_new_tokens=24, validation_examples=2, test_examples=4))
    record = TrialRecord(sweep.trials_folder / f"001-A-{trial.train_id}")
    record.write_config(trial, 1, "A", "A")
    engine = SoloEngine(EngineSetup(str(sweep.folder), {"base": str(model)}, "cpu"))
    assert engine.preflight([trial]).said == ()
    result = engine.run(TrialJob(str(record.folder), trial), lambda _: None, lambda: "go")
    assert result.state == "done"
    program = usage(train, trial.evaluation, repr(str(model))).replace(
        "PATH/OF/THIS/FOLDER", str(record.adapter_folder)
    )
    texts = []
    for example in short["test"][:4]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(program, {"TEXT": example.source})
        texts.append(said.getvalue().removesuffix("\n"))
    assert texts == [one["text"] for one in record.predictions(trial.eval_id, "test")]
    assert len(set(texts)) > 1
