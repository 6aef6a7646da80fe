"""Every end of text that a model declares stops a text, the trained one is among them, and all ids have weights."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import REAL, engine_of, trial, write_model, write_sweep
from model_folders import with_json
from tokenizers import AddedToken, Tokenizer
from transformers import AutoModelForCausalLM

from benchmarks.byte_tokenizer import END
from trainables.bases.load import load_base
from trainables.config import Decoding
from trainables.decoding.generate import Prompt, Writing, decoding_batches, generate_batch
from trainables.errors import UserError
from trainables.jobs import go_on
from trainables.tokenization.encoder import load_encoder
from trainables.tokenization.end_checks import check_ends, ends_sentence
from trainables.tokenization.end_tokens import declared_ends
from trainables.trial import preflight
from trainables.trial.preflight_report import EndTokens

NEW_TOKENS = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("m") / "llama", "llama")


def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "m"))


def with_token(folder: Path, content: str) -> Path:
    """Add a token to the tokenizer without resizing the model."""
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_special_tokens([AddedToken(content, special=True)])
    tokenizer.save(path)
    return folder


def by_the_library(folder: Path, ids: tuple[int, ...], **options: Any) -> list[int]:
    """Return what plain transformers writes, by the folder's own generation_config.json, without its end."""
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(folder).generate(
            torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False, **options
        )
    written: list[int] = found[0, len(ids) :].tolist()
    ends = declared_ends(folder)
    return written[: next((place for place, one in enumerate(written) if one in ends), len(written))]


PROMPTS = [tuple(range(3 + 5 * row, 14 + 7 * row)) for row in range(6)]  # LEAST_ROWS is 4: ended rows leave the batch


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(strategy="beam", num_beams=3)], ids=["greedy", "beam"])
def test_texts_stop_at_every_end_that_the_model_declares_as_the_library_does(
    tmp_path: Path, model: Path, decoding: Decoding
) -> None:
    folder = copy(model, tmp_path)
    with_json(folder, "generation_config.json", eos_token_id=0)
    second = by_the_library(folder, PROMPTS[0])[4]  # written in the midst of a text
    with_json(folder, "generation_config.json", eos_token_id=[0, second])
    encoder = load_encoder(folder)
    assert (encoder.eos_id, encoder.eos_ids) == (0, (0, second))
    writing = Writing(decoding, NEW_TOKENS, encoder.eos_ids, encoder.pad_id, 42)
    base = load_base(folder, trial().train, "cpu")
    prompts = [Prompt(str(row), ids) for row, ids in enumerate(PROMPTS)]
    found = {}
    for group in decoding_batches(base, prompts, writing.rows, writing):
        written = generate_batch(base, [prompts[index] for index in group], writing, go_on)
        found |= dict(zip(group, written, strict=True))
    beams = {"num_beams": 3} if decoding.strategy == "beam" else {}
    wanted = [by_the_library(folder, ids, **beams) for ids in PROMPTS]
    assert [list(found[row].ids) for row in range(len(PROMPTS))] == wanted
    assert {found[row].ended for row in range(len(PROMPTS))} >= {"eos"}
    assert min(len(ids) for ids in wanted) < NEW_TOKENS


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
def test_a_trained_model_stops_at_a_second_end_too(tmp_path: Path) -> None:
    folder = copy(REAL / "models" / "stories260K-llama", tmp_path)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    with_json(folder, "generation_config.json", eos_token_id=[2, 426])
    encoder = load_encoder(folder)
    ids = (*encoder.bos_ids, *encoder.encode("Once upon a time"))
    writing = Writing(Decoding(), NEW_TOKENS, encoder.eos_ids, encoder.pad_id, 42)
    found = generate_batch(load_base(folder, trial().train, "cpu"), [Prompt("0", ids)], writing, go_on)[0]
    assert list(found.ids) == by_the_library(folder, ids)
    assert (found.ended, len(found.ids) < NEW_TOKENS) == ("eos", True)


@pytest.mark.parametrize(
    ("generation", "config", "found"),
    [
        ({"eos_token_id": [5, 0]}, {"eos_token_id": 0}, (5, 0)),
        ({"eos_token_id": 5}, {"eos_token_id": 0}, (5,)),
        ({}, {"eos_token_id": [0, 7]}, (0, 7)),
        (None, {"eos_token_id": 0}, (0,)),
        (None, {"eos_token_id": None, "text_config": {"eos_token_id": 3}}, (3,)),
        (None, {"eos_token_id": None}, ()),
    ],
)
def test_the_ends_are_those_of_generation_config_before_those_of_the_configuration(
    tmp_path: Path, generation: dict[str, Any] | None, config: dict[str, Any], found: tuple[int, ...]
) -> None:
    with_json(tmp_path, "config.json", **config)
    if generation is not None:
        with_json(tmp_path, "generation_config.json", **generation)
    assert declared_ends(tmp_path) == found


def test_the_trained_end_is_said_where_there_are_several(tmp_path: Path, model: Path) -> None:
    folder = copy(model, tmp_path)
    assert ends_sentence(load_encoder(folder)) is None
    with_json(folder, "generation_config.json", eos_token_id=[0, 67])
    encoder = load_encoder(folder)
    spelled = encoder.tokenizer.id_to_token(67)
    assert ends_sentence(encoder) == (
        f"summaries are trained to end with '{END}' (0); a text also stops at '{spelled}' (67)"
    )


def test_an_end_that_would_be_trained_and_stops_no_text_is_refused_by_the_preflight(
    tmp_path: Path, model: Path
) -> None:
    folder = copy(model, tmp_path)
    with_json(folder, "generation_config.json", eos_token_id=[67, 68])
    engine = engine_of(write_sweep(tmp_path / "s"), folder)
    with pytest.raises(UserError, match=r"trained to end with '<\|endoftext\|>' \(0\), .*does not stop .*\(67\), .*68"):
        preflight.check(engine, [trial(target_modules=("q_proj",))])


def test_a_token_that_was_added_without_resizing_the_model_pads_nothing_and_is_refused_in_a_text(
    tmp_path: Path, model: Path
) -> None:
    folder = with_token(copy(model, tmp_path), "[PAD]")
    with_json(folder, "tokenizer_config.json", pad_token="[PAD]")
    encoder = load_encoder(folder)
    assert (encoder.tokenizer.token_to_id("[PAD]"), encoder.pad_id) == (257, 0)
    sweep = write_sweep(tmp_path / "s")
    plain = trial(target_modules=("q_proj",))
    assert preflight.check(engine_of(sweep, folder), [plain]).ends == (EndTokens(0, (0,)),)
    train = plain.train.model_copy(update={"prompt_template": "[PAD] Sum up.\n{source}\nSummary:"})
    with pytest.raises(UserError, match=r"has the token '\[PAD\]' \(257\), .*ids 0 to 256 alone"):
        preflight.check(engine_of(sweep, folder), [plain.model_copy(update={"train": train})])


def test_an_end_without_weights_is_refused(tmp_path: Path, model: Path) -> None:
    folder = with_token(copy(model, tmp_path), "<|im_end|>")
    with_json(folder, "tokenizer_config.json", eos_token="<|im_end|>")
    encoder = dataclasses.replace(load_encoder(folder), eos_ids=(257,))
    with pytest.raises(UserError, match=r"puts '<\|im_end\|>' \(257\) around every text, .*without resizing"):
        check_ends(encoder, folder)
