"""A fingerprint covers what is loaded and nothing else, and one that is of an earlier scheme is still compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_inputs import write_model
from hub_on_loopback import small_model
from model_folders import copy_of, in_shards, with_json, with_weights
from transformers import GenerationConfig

from trainables.data.sources import resolve_model
from trainables.errors import UserError
from trainables.model_files.fingerprint import model_fingerprint
from trainables.model_files.layer_shapes import total_parameters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("m") / "llama", "llama")


def with_text(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")


LOADED: list[Callable[[Path], object]] = [
    lambda folder: with_json(folder, "tokenizer_config.json", eos_token="!"),
    lambda folder: with_json(folder, "tokenizer_config.json", chat_template="{{ messages }}"),
    lambda folder: with_json(folder, "generation_config.json", eos_token_id=[0, 7]),
    lambda folder: with_json(folder, "special_tokens_map.json", eos_token="!"),
    lambda folder: with_json(folder, "added_tokens.json", new=257),
    lambda folder: (folder / "merges.txt").write_text("a b\n"),
    lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    lambda folder: with_weights(folder, lambda weights: {name: value * 2 for name, value in weights.items()}),
]
NOT_LOADED: list[Callable[[Path], object]] = [
    lambda folder: with_json(folder, "tokenizer_config.json", name_or_path="x", is_local=True),
    lambda folder: with_json(folder, "generation_config.json", temperature=0.7),
    lambda folder: with_json(folder, "config.json", transformers_version="5.0", _name_or_path="x"),
    lambda folder: (folder / "consolidated.safetensors").write_bytes((folder / "model.safetensors").read_bytes()),
    lambda folder: (folder / "README.md").write_text("x"),
    lambda folder: (folder / "train.py").write_text("x"),
    lambda folder: with_text(folder / "additional_chat_templates" / "x.jinja"),  # neither downloaded nor used
]


def test_whatever_is_loaded_is_in_the_fingerprint_and_nothing_else(tmp_path: Path, model: Path) -> None:
    first = model_fingerprint(model)
    for number, change in enumerate(LOADED):
        folder = copy_of(model, tmp_path / f"loaded-{number}")
        change(folder)
        assert model_fingerprint(folder) != first, number
    for number, change in enumerate(NOT_LOADED):
        folder = copy_of(model, tmp_path / f"not-{number}")
        change(folder)
        assert model_fingerprint(folder) == first, number


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_own_code_is_in_the_fingerprint_where_it_is_trusted_alone(tmp_path: Path, model: Path, name: str) -> None:
    folder = copy_of(model, tmp_path / "m")
    (folder / "modeling_own.py").write_text("1")
    assert resolve_model(str(folder)) == resolve_model(str(folder), trust_remote_code=True)  # which names no code
    with_json(folder, name, auto_map={"AutoModelForCausalLM": "modeling_own.Own"})
    first = [resolve_model(str(folder), trust_remote_code=trust).fingerprint for trust in (False, True)]
    assert first[0] != first[1]
    (folder / "modeling_own.py").write_text("2")  # as another tool's download would
    (folder / "more.py").write_text("2")
    again = [resolve_model(str(folder), trust_remote_code=trust).fingerprint for trust in (False, True)]
    assert again[0] == first[0]
    assert again[1] != first[1]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b'\xef\xbb\xbf{"eos_token_id": 7}', "begins with a byte order mark"),
        (b"[7]", "is not a JSON"),
    ],
)
def test_a_damaged_generation_config_is_named_which_the_library_would_pass_over(
    tmp_path: Path, model: Path, content: bytes, why: str
) -> None:
    folder = copy_of(model, tmp_path / "m")
    (folder / "generation_config.json").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"generation_config.json is damaged \({why}.* optional: mend it, or remove it"
    ):
        resolve_model(str(folder))
    if content != b"[7]":  # at which the library raises an error of another kind
        with pytest.raises(OSError, match="not a valid JSON file"):
            GenerationConfig.from_pretrained(folder)


def test_weights_that_are_not_loaded_are_neither_fingerprinted_nor_counted(tmp_path: Path, model: Path) -> None:
    folder = in_shards(copy_of(model, tmp_path / "m"))
    first, parameters = model_fingerprint(folder), total_parameters(folder)
    assert parameters == total_parameters(model)
    (folder / "consolidated.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    assert (model_fingerprint(folder), total_parameters(folder)) == (first, parameters)
    # The single file is what the library loads, whatever an index beside it says.
    (folder / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    assert model_fingerprint(folder) == model_fingerprint(model)


def test_the_first_scheme_is_still_computed_as_it_was(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "m")
    weights, config = (folder / "model.safetensors").read_bytes(), json.loads((folder / "config.json").read_text())
    wanted = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    wanted.update(b"tokenizer.json" + hashlib.sha256(b"{}").digest())
    wanted.update(b"model.safetensors" + hashlib.sha256(str(len(weights)).encode() + weights).digest())
    with_json(folder, "tokenizer_config.json", eos_token="!")
    assert model_fingerprint(folder, 1) == wanted.hexdigest() != model_fingerprint(folder)
    with pytest.raises(UserError, match="must be of scheme 1 or 2, got 3: update packsweep"):
        model_fingerprint(folder, 3)
