"""A prompt has the ids that whoever sends its text gets from AutoTokenizer: on every real tokenizer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainables.data.corpus import Example
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource
from trainables.errors import UserError
from trainables.pocket import model_folder
from trainables.pocket.corpus import records
from trainables.prompts import PROMPTS, split_template
from trainables.tokenization.encoder import load_encoder
from trainables.tokenization.prompt_lengths import check_lengths
from trainables.tokenization.served_tokenizer import differences, load_served
from trainables.tokenization.token_rows import build_row, build_rows

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
POCKET = model_folder()
GPT2, PHI2 = REAL / "tokenizers" / "gpt2", REAL / "tokenizers" / "phi-2"
LLAMA, BYTES = REAL / "models" / "stories260K-llama", REAL / "models" / "shakespeare-bytes-gpt2"
DIALOGUE = REAL / "models" / "dialogue-7M-gpt2"
FOLDERS = [POCKET, GPT2, PHI2, LLAMA, BYTES, DIALOGUE]
CHAT = "<|endoftext|>user\n{source}<|endoftext|>\nassistant:"

AUTO = """
import json, sys
from transformers import AutoTokenizer
asked = json.load(sys.stdin)
print(json.dumps([AutoTokenizer.from_pretrained(one)(texts, **how).input_ids for one, texts, how in asked]))
"""


def auto_ids(asked: list[tuple[Path, list[str], dict[str, Any]]]) -> list[list[list[int]]]:
    """Return what transformers' AutoTokenizer gives for (folder, texts, options), in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", AUTO],
        input=json.dumps([(str(folder), *rest) for folder, *rest in asked]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def filled(template: str, example: Example) -> str:
    return template.replace("{source}", example.source)


def samsum(count: int) -> list[Example]:
    source = DataSource("samsum", str(REAL / "samsum"), "local")
    return load_corpus(source, "dialogue", "summary").splits["test"][:count]


@pytest.mark.slow
@needs_real_data
def test_prompts_have_the_ids_of_their_rendered_text_and_summaries_follow_as_in_the_whole() -> None:
    examples = samsum(819)
    pairs = [(filled(template, one), one) for template in PROMPTS.values() for one in examples]
    prompts = [text for text, _ in pairs]
    wholes = [f"{text} {one.references[0].strip()}" for text, one in pairs]
    answers = iter(auto_ids([(folder, texts, {}) for folder in FOLDERS for texts in (prompts, wholes)]))
    for folder in FOLDERS:
        encoder = load_encoder(folder)
        rows = [row for template in PROMPTS.values() for row in build_rows(encoder, template, examples, 100_000)]
        assert len(rows) == len(pairs) > 1500
        assert not any(row.source_tokens_cut for row in rows)
        assert [list(row.prompt_ids) for row in rows] == next(answers)
        assert [[*row.prompt_ids, *row.target_ids] for row in rows] == [[*ids, encoder.eos_id] for ids in next(answers)]


@pytest.mark.slow
@needs_real_data
def test_a_cut_source_is_cut_as_text_and_the_rest_is_rendered_whole() -> None:
    folders, examples = [GPT2, PHI2, LLAMA, DIALOGUE], samsum(200)
    instruction, cue = split_template(PROMPTS["v1"])
    asked, given = [], []
    for folder in folders:
        encoder = load_encoder(folder)
        rows = build_rows(encoder, PROMPTS["v1"], examples, 160, reserve_tokens=40)
        cut = [(row, one) for row, one in zip(rows, examples, strict=True) if row.source_tokens_cut]
        assert len(cut) > 20
        texts = []
        for row, example in cut:
            text = encoder.tokenizer.decode(row.prompt_ids[len(encoder.bos_ids) :], skip_special_tokens=False)
            kept = text.removeprefix(instruction).removesuffix(cue)
            assert text == f"{instruction}{kept}{cue}"
            assert example.source.startswith(kept)
            assert len(row.prompt_ids) + 40 <= 160 or not row.fits
            texts.append(text)
        asked.append((folder, texts, {}))
        given.append([list(row.prompt_ids) for row, _ in cut])
    assert given == auto_ids(asked)


@needs_real_data
def test_many_rows_at_once_are_those_of_one_at_a_time() -> None:
    encoder, examples = load_encoder(DIALOGUE), samsum(40)
    together = build_rows(encoder, PROMPTS["v2"], examples, 150)
    assert together == [build_row(encoder, PROMPTS["v2"], one, 150) for one in examples]
    assert len({row.source_tokens_cut > 0 for row in together}) == 2


@pytest.mark.slow
def test_every_bundled_text_has_the_same_ids_in_one_piece_as_in_parts() -> None:
    """So trials of the bundled model on the bundled data keep the identity that they had before."""
    encoder = load_encoder(POCKET)
    for split in ("train", "validation", "test"):
        examples = [Example(one["id"], one["dialogue"], (one["summary"],)) for one in records(split)]
        for template in PROMPTS.values():
            one_text = build_rows(encoder, template, examples, 512, 128)
            assert not any(row.source_tokens_cut for row in one_text)
            assert one_text == build_rows(encoder, template, examples, 512, 128, "parts")


@pytest.mark.slow
@needs_real_data
def test_a_special_token_that_an_example_spells_is_text_and_one_of_the_template_is_special() -> None:
    encoder = load_encoder(GPT2)
    example = Example("a", "A: it says <|endoftext|> here", ("It says <|endoftext|> there.",))
    plain = build_row(encoder, PROMPTS["v1"], example, 512)
    text = filled(PROMPTS["v1"], example)
    whole = f"{text} {example.references[0]}"
    harmless = Example("b", "A: nothing here", ("Nothing.",))
    split, read = auto_ids(
        [(GPT2, [text, whole], {"split_special_tokens": True}), (GPT2, [filled(CHAT, harmless)], {})]
    )
    assert [list(plain.prompt_ids), [*plain.prompt_ids, *plain.target_ids[:-1]]] == split
    chat = build_row(encoder, CHAT, example, 512)
    assert chat.prompt_ids.count(50256) == 2
    assert (chat.prompt_ids[0], chat.target_ids.index(50256)) == (50256, len(chat.target_ids) - 1)
    assert [list(build_row(encoder, CHAT, harmless, 512).prompt_ids)] == read


@needs_real_data
@pytest.mark.parametrize(
    ("folder", "cue", "begins"),
    [
        (GPT2, "\nSummary:", True),
        (GPT2, "\nSummary:\n\n", True),  # two line ends before " Tim" stay one token
        (PHI2, "\nSummary: ", False),  # and the two spaces before "Tim" are a token of their own
        (GPT2, "\nSummary:\t\n", True),
        (LLAMA, "\nSummary:", True),
    ],
)
def test_a_prompt_that_ends_in_white_space_is_kept_as_it_will_be_sent(folder: Path, cue: str, begins: bool) -> None:
    encoder, template = load_encoder(folder), "Read.\n{source}" + cue
    example = Example("a", "A: Tim was happy", ("Tim was happy.",))
    row = build_row(encoder, template, example, 200)
    assert list(row.prompt_ids) == list(encoder.tokenizer.encode(filled(template, example)).ids)
    whole = list(encoder.tokenizer.encode(f"{filled(template, example)} Tim was happy.").ids)
    assert (whole[: len(row.prompt_ids)] == list(row.prompt_ids)) == begins
    assert ([*row.prompt_ids, *row.target_ids[:-1]] == whole) == begins
    assert encoder.decode(row.target_ids).strip() == "Tim was happy."


@needs_real_data
def test_a_template_that_spells_the_first_token_is_refused() -> None:
    encoder, example = load_encoder(LLAMA), Example("a", "A: hi", ("Hi.",))
    with pytest.raises(UserError, match=r"prompt 'own' begins with <s>, which the tokenizer puts before every text"):
        check_lengths(encoder, {"own": "<s>Read.\n{source}\nSay:"}, [example], 512)
    assert check_lengths(encoder, {"own": "Read.\n{source}\nSay:"}, [example], 512)


def folder_with(tokenizer: Path, target: Path, **config: Any) -> Path:
    """A model folder's tokenizer with fields of its configuration changed."""
    target.mkdir()
    shutil.copyfile(tokenizer / "tokenizer.json", target / "tokenizer.json")
    known = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    (target / "tokenizer_config.json").write_text(json.dumps({**known, **config}), encoding="utf-8")
    (target / "config.json").write_text("{}", encoding="utf-8")
    return target


@needs_real_data
def test_the_space_that_a_folder_asks_for_is_put_before_a_text(tmp_path: Path) -> None:
    spaced = load_encoder(folder_with(GPT2, tmp_path / "m", add_prefix_space=True))
    assert spaced.encode("Hello") == [18435]  # " Hello"
    assert load_encoder(GPT2).encode("Hello") == [15496]


def test_a_vocabulary_with_holes_loses_no_character_in_decoding(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: 10 * index + 1 for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}', encoding="utf-8")
    encoder = load_encoder(tmp_path)
    text = "Zoë says: {x} ~ yes"
    assert max(encoder.encode(text)) > len(letters)
    assert encoder.decode([*encoder.encode(text), encoder.eos_id]) == text


@pytest.mark.slow
@needs_real_data
def test_the_ids_of_the_class_that_a_folder_names_are_trained_and_what_the_file_says_otherwise_is_told(
    tmp_path: Path,
) -> None:
    folder = folder_with(LLAMA, tmp_path / "m", tokenizer_class="LlamaTokenizer")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    lower = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *content["normalizer"]["normalizers"]]}
    (folder / "tokenizer.json").write_text(json.dumps({**content, "normalizer": lower}), encoding="utf-8")
    examples = samsum(40)
    texts = [filled(PROMPTS["v1"], one) for one in examples]
    (expected,) = auto_ids([(folder, texts, {})])
    rows = build_rows(load_served(folder), PROMPTS["v1"], examples, 100_000)
    assert [list(row.prompt_ids) for row in rows] == expected
    (said,) = differences(folder, "m", PROMPTS["v1"], examples)
    assert "AutoTokenizer (LlamaTokenizer) gives other ids than tokenizer.json for" in said
    assert differences(LLAMA, "llama", PROMPTS["v1"], examples) == []
