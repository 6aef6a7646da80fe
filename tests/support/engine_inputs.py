"""Small real models with a byte tokenizer, and a sweep folder with examples, for the tests of the engine."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PhiConfig,
    Qwen2Config,
)

from benchmarks.byte_tokenizer import VOCABULARY, write_byte_tokenizer
from trainables.config import Decoding, EvalConfig, TrainConfig, TrialConfig
from trainables.data.corpus import Example
from trainables.jobs import EngineSetup, TrialJob
from trainables.records.record import SweepFolder, TrialRecord
from trainables.solo.engine import SoloEngine

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
TEMPLATE = "Sum up.\n{source}\nSummary:"
TARGETS = dict.fromkeys(("phi", "llama", "mistral", "qwen2", "gemma", "opt"), ("q_proj", "v_proj"))
TARGETS["gpt2"] = ("c_attn",)
TARGETS["falcon"] = TARGETS["falcon-alibi"] = ("query_key_value",)

torch.set_num_threads(1)


def write_model(folder: Path, family: str = "gpt2", width: int = 32, spread: float = 0.15) -> Path:
    """Write a model of random weights; they are wide enough apart that texts vary."""
    shared: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    shape = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 256}
    sizes = {"intermediate_size": 2 * width, **shape, **shared}
    one_key = {"num_key_value_heads": 1, **sizes}
    config = {
        "gpt2": lambda: GPT2Config(n_embd=width, n_layer=2, n_head=2, n_positions=256, **shared),
        "phi": lambda: PhiConfig(resid_pdrop=0.1, **sizes),
        "llama": lambda: LlamaConfig(**sizes),
        "mistral": lambda: MistralConfig(sliding_window=64, **one_key),
        "qwen2": lambda: Qwen2Config(**one_key),
        "gemma": lambda: GemmaConfig(head_dim=16, **one_key),
        "falcon": lambda: FalconConfig(**shape, **shared),
        "falcon-alibi": lambda: FalconConfig(alibi=True, **shape, **shared),
        "opt": lambda: OPTConfig(ffn_dim=2 * width, word_embed_proj_dim=width, pad_token_id=0, **shape, **shared),
    }[family]()
    config.initializer_range = spread
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    write_byte_tokenizer(folder)
    return folder


def examples(split: str, count: int) -> list[Example]:
    """Return short chats of different lengths with summaries."""
    chance = random.Random(split)
    found = []
    for number in range(count):
        lines = [f"{chance.choice('ABCDE')}: {chance.choice(('yes', 'see you at', 'no way,'))} {chance.randrange(99)}"]
        lines *= chance.randrange(1, 4)
        found.append(Example(f"{split}-{number}", "\n".join(lines), (f"They meet at {chance.randrange(99)}.",)))
    return found


def write_sweep(folder: Path, train: int = 16, validation: int = 6, test: int = 6) -> SweepFolder:
    sweep = SweepFolder(folder)
    sweep.write_examples(sweep.train_examples_path(42), [one.row() for one in examples("train", train)])
    for split, count in (("validation", validation), ("test", test)):
        sweep.write_examples(sweep.evaluation_examples_path(split), [one.row() for one in examples(split, count)])
    return sweep


def trial(evaluation: EvalConfig | None = None, **changes: Any) -> TrialConfig:
    """Return a trial of four short steps over a tiny model."""
    train = {
        "model": "tiny",
        "data": "chats",
        "prompt": "short",
        "prompt_template": TEMPLATE,
        "train_examples": 16,
        "max_length_tokens": 200,
        "precision": "fp32",
        "lora_rank": 4,
        "learning_rate": 5e-3,
        "max_steps": 4,
        "eval_every_steps": 2,
        **changes,
    }
    return TrialConfig(train=TrainConfig(**train), evaluation=evaluation or evaluation_of())


def evaluation_of(tokens: int = 8, validation: int = 6, test: int = 4, **changes: Any) -> EvalConfig:
    metrics = changes.pop("metrics", ("rouge",))
    return EvalConfig(
        decoding=Decoding(**changes),
        max_new_tokens=tokens,
        validation_examples=validation,
        test_examples=test,
        metrics=metrics,
    )


def engine_of(sweep: SweepFolder, model: Path, device: str = "cpu") -> SoloEngine:
    return SoloEngine(EngineSetup(str(sweep.folder), {"tiny": str(model)}, device))


def record_of(sweep: SweepFolder, one: TrialConfig, name: str = "A") -> tuple[TrialRecord, TrialJob]:
    """Give a trial its folder in the sweep."""
    record = TrialRecord(sweep.trials_folder / f"000-{name}-{one.train_id}")
    if not record.config_path.exists():
        record.write_config(one, 0, name, name)
    return record, TrialJob(str(record.folder), one)


def train_losses(record: TrialRecord) -> list[float]:
    return [row["train_loss"] for row in record.metrics() if row["kind"] == "train"]
