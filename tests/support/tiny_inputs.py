"""A real GPT-2 of 30,000 parameters with a byte tokenizer, and a small data set, written without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.byte_tokenizer import END_ID, VOCABULARY, write_byte_tokenizer

WIDTH, LAYERS = 32, 2
NAMES = ("Ann", "Bob", "Cid", "Dora", "Eve", "Finn")
THINGS = ("cake", "map", "book", "lamp", "coat", "drum", "kite")
PLACES = ("park", "mall", "port", "farm", "hall")


def write_model(folder: Path, context: int = 512) -> Path:
    """Write a randomly initialised GPT-2 as a model folder and return it."""
    folder.mkdir(parents=True)
    write_byte_tokenizer(folder)
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": 2,
        "n_positions": context,
        "vocab_size": VOCABULARY,
        "eos_token_id": END_ID,
        "bos_token_id": END_ID,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_weights(VOCABULARY, context), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _weights(vocabulary: int, context: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.02, shape).astype(np.float32)

    weights = {"wte.weight": normal(vocabulary, WIDTH), "wpe.weight": normal(context, WIDTH)}
    for layer in range(LAYERS):
        shapes = {"attn.c_attn": 3 * WIDTH, "attn.c_proj": WIDTH, "mlp.c_fc": 4 * WIDTH}
        for name, outputs in shapes.items():
            weights[f"h.{layer}.{name}.weight"] = normal(WIDTH, outputs)
            weights[f"h.{layer}.{name}.bias"] = np.zeros(outputs, np.float32)
        weights[f"h.{layer}.mlp.c_proj.weight"] = normal(4 * WIDTH, WIDTH)
        weights[f"h.{layer}.mlp.c_proj.bias"] = np.zeros(WIDTH, np.float32)
        for name in ("ln_1", "ln_2"):
            weights[f"h.{layer}.{name}.weight"] = np.ones(WIDTH, np.float32)
            weights[f"h.{layer}.{name}.bias"] = np.zeros(WIDTH, np.float32)
    weights["ln_f.weight"] = np.ones(WIDTH, np.float32)
    weights["ln_f.bias"] = np.zeros(WIDTH, np.float32)
    return {f"transformer.{name}": value for name, value in weights.items()}


def write_data(folder: Path, train: int = 80, validation: int = 12, test: int = 12) -> Path:
    """Write dialogues with summaries as train.jsonl, validation.jsonl and test.jsonl, and return their folder."""
    folder.mkdir(parents=True)
    number = 0
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        lines = []
        for _ in range(count):
            lines.append(json.dumps(record(number)))
            number += 1
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def record(number: int) -> dict[str, str]:
    """Return one dialogue, different for every number up to 210."""
    name, thing, place = (words[number % len(words)] for words in (NAMES, THINGS, PLACES))
    dialogue = f"{name}: I lost the {thing}.\nGus: Where?\n{name}: In the {place}."
    return {"id": f"d{number}", "dialogue": dialogue, "summary": f"{name} lost the {thing} in the {place}."}
