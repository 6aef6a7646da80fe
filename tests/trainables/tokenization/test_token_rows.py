"""Token rows: known answers on real tokenizers, and that truncation touches nothing but the end of the source."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.data.corpus import Example, evaluation_order, training_order
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource
from trainables.errors import UserError
from trainables.pocket import model_folder
from trainables.prompts import PROMPTS, split_template
from trainables.tokenization.encoder import Encoder, context_length, load_encoder
from trainables.tokenization.prompt_lengths import check_lengths, lengths
from trainables.tokenization.token_rows import build_row

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")

POCKET = model_folder()
needs_pocket_model = pytest.mark.skipif(not POCKET.is_dir(), reason="the pocket model is not built")
GPT2, PHI2 = REAL / "tokenizers" / "gpt2", REAL / "tokenizers" / "phi-2"
LLAMA, BYTES = REAL / "models" / "stories260K-llama", REAL / "models" / "shakespeare-bytes-gpt2"
DIALOGUE = REAL / "models" / "dialogue-7M-gpt2"


# --- known answers ---------------------------------------------------------------------------------------------------


@needs_real_data
@pytest.mark.parametrize(
    ("folder", "eos", "pad", "bos", "vocabulary", "context"),
    [
        (GPT2, 50256, 50256, (), 50257, None),
        (PHI2, 50256, 50256, (), 50295, None),
        (LLAMA, 2, 2, (1,), 512, 512),
        (BYTES, 0, 0, (), 256, 256),
        (DIALOGUE, 0, 0, (), 8192, 512),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else None,
)
def test_special_ids_are_those_of_the_real_tokenizers(
    folder: Path, eos: int, pad: int, bos: tuple[int, ...], vocabulary: int, context: int | None
) -> None:
    encoder = load_encoder(folder)
    assert (encoder.eos_id, encoder.pad_id, encoder.bos_ids) == (eos, pad, bos)
    assert encoder.vocabulary == vocabulary
    assert context_length(folder) == context


@needs_real_data
def test_gpt2_rows_are_known_by_hand() -> None:
    encoder = load_encoder(GPT2)
    example = Example("a", "Hello world", (" Hello world \n", "ignored"))
    row = build_row(encoder, "Hello\n\n{source}\n\n world", example, limit_tokens=100)
    # "Hello" 15496, " world" 995, end of text 50256; two line ends are 628 before a space, and twice 198 before a word
    assert row.prompt_ids == (15496, 198, 198, 15496, 995, 628, 995)
    assert row.target_ids == (18435, 995, 50256)  # " Hello", " world"
    assert (row.example_id, row.source_tokens_cut, row.fits) == ("a", 0, True)


@needs_real_data
def test_phi2_has_tokens_of_its_own_for_runs_of_white_space() -> None:
    text = "def f():\n    return 1\n"
    assert 50284 in load_encoder(PHI2).encode(text)
    assert 50284 not in load_encoder(GPT2).encode(text)


@needs_real_data
def test_a_byte_model_counts_bytes() -> None:
    encoder = load_encoder(BYTES)
    row = build_row(encoder, "é{source}:", Example("a", "ab\n", ("ok",)), limit_tokens=64)
    assert row.prompt_ids == (0xC3, 0xA9, ord("a"), ord("b"), ord("\n"), ord(":"))
    assert row.target_ids == (ord(" "), ord("o"), ord("k"), 0)


@needs_real_data
def test_a_llama_prompt_starts_with_its_own_first_token_and_its_summary_with_one_space() -> None:
    encoder = load_encoder(LLAMA)
    row = build_row(encoder, PROMPTS["v1"], Example("a", "Once upon a time", ("Tim was happy.",)), limit_tokens=512)
    assert row.prompt_ids[0] == 1
    assert row.prompt_ids.count(1) == 1
    assert row.target_ids == (*encoder.encode("Tim was happy."), 2)
    assert encoder.decode(row.target_ids) == "Tim was happy."


@needs_real_data
@pytest.mark.parametrize("folder", [GPT2, LLAMA, BYTES, DIALOGUE], ids=lambda path: path.name)
def test_what_looks_like_end_of_text_in_a_dialogue_is_text(folder: Path) -> None:
    encoder = load_encoder(folder)
    spelled = encoder.tokenizer.id_to_token(encoder.eos_id)
    example = Example("a", f"A: {spelled} no end", (f"It says {spelled} here.",))
    row = build_row(encoder, "Read.\n{source}\nSay:", example, limit_tokens=512)
    assert encoder.eos_id not in row.prompt_ids
    assert row.target_ids.index(encoder.eos_id) == len(row.target_ids) - 1
    assert encoder.decode(row.target_ids).strip() == f"It says {spelled} here."
    assert encoder.eos_id in encoder.encode(f"A template may say {spelled} on purpose.")


@pytest.mark.slow
@needs_real_data
def test_ids_and_texts_equal_those_of_transformers() -> None:
    texts = [
        *(part for template in PROMPTS.values() for part in split_template(template)),
        " Hi there.",
        "A: Hi 😀   tabs\t\t and    spaces\nB: it 's <file_photo> ok , no ?",
        "Ça va – “quoted”",
    ]
    program = (
        "import json, sys\n"
        "from transformers import AutoTokenizer\n"
        "folders, texts = json.load(sys.stdin)\n"
        "answer = {}\n"
        "for folder in folders:\n"
        "    tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]\n"
        "    answer[folder] = [ids, [tokenizer.decode(row, skip_special_tokens=True) for row in ids]]\n"
        "print(json.dumps(answer))\n"
    )
    folders = [str(folder) for folder in (GPT2, PHI2, LLAMA, BYTES, DIALOGUE)]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([folders, texts]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    for folder in folders:
        encoder = load_encoder(folder)
        assert [encoder.encode(text) for text in texts] == answer[folder][0]
        assert [encoder.encode_plain(text) for text in texts] == answer[folder][0]
        assert [encoder.decode(ids) for ids in answer[folder][0]] == answer[folder][1]


# --- truncation ------------------------------------------------------------------------------------------------------


def random_text(draw: random.Random, words: int) -> str:
    return " ".join("".join(draw.choices("abcdefgh éß😀.,\n", k=draw.randint(1, 9))) for _ in range(words))


FOLDERS = [pytest.param(folder, marks=needs_real_data, id=folder.name) for folder in (GPT2, LLAMA, BYTES)]


@pytest.mark.parametrize("folder", [pytest.param(POCKET, id="pocket", marks=needs_pocket_model), *FOLDERS])
def test_truncation_never_touches_instruction_cue_or_target(folder: Path) -> None:
    encoder = load_encoder(folder)
    draw = random.Random(7)
    seen: set[tuple[bool, bool]] = set()
    for _ in range(300):
        template = draw.choice(list(PROMPTS.values()))
        instruction, cue = split_template(template)
        example = Example("x", "s" + random_text(draw, draw.randint(0, 90)), (random_text(draw, draw.randint(1, 20)),))
        limit, reserve = draw.randint(40, 500), draw.choice([0, 16, 128])
        row = build_row(encoder, template, example, limit, reserve)
        text = encoder.tokenizer.decode(row.prompt_ids[len(encoder.bos_ids) :], skip_special_tokens=False)
        kept = text.removeprefix(instruction).removesuffix(cue)
        assert text == f"{instruction}{kept}{cue}"
        assert example.source.startswith(kept)
        assert list(row.prompt_ids) == ids_of(encoder, text)  # what is left is tokenised as one text
        whole = ids_of(encoder, f"{text} {example.references[0].strip()}")
        assert [*row.prompt_ids, *row.target_ids] == [*whole, encoder.eos_id]
        assert encoder.eos_id not in row.target_ids[:-1]
        assert (kept == example.source) == (row.source_tokens_cut == 0)
        used = len(row.prompt_ids) + max(reserve, len(row.target_ids))
        if row.fits:
            assert used <= limit
        if row.source_tokens_cut and row.fits and used < limit:  # no room is wasted: a token more is too long
            offsets = encoder.tokenizer.encode(f"{instruction}{example.source}{cue}").offsets
            place = min(end for _, end in offsets if end > len(instruction) + len(kept)) - len(instruction)
            ids = ids_of(encoder, f"{instruction}{example.source[:place]}{cue}")
            assert len(ids) + max(reserve, len(row.target_ids)) > limit
        seen.add((row.fits, row.source_tokens_cut > 0))
    assert seen == {(True, True), (True, False), (False, True)}


def ids_of(encoder: Encoder, text: str) -> list[int]:
    """The library's own ids of a text, with what it puts before."""
    return list(encoder.tokenizer.encode(text, add_special_tokens=True).ids)


@needs_real_data
def test_a_short_source_fits_when_it_is_whole_and_a_long_one_from_32_tokens_on() -> None:
    encoder = load_encoder(BYTES)
    short, long = Example("s", "x" * 10, ("y",)), Example("l", "x" * 100, ("y",))
    fixed = len("Read ") + len(" Say:") + len(" y") + 1
    template = "Read {source} Say:"
    assert build_row(encoder, template, short, fixed + 10).fits
    assert not build_row(encoder, template, short, fixed + 9).fits
    assert build_row(encoder, template, long, fixed + 32).fits
    assert not build_row(encoder, template, long, fixed + 31).fits


@needs_real_data
def test_training_and_evaluation_differ_in_what_they_reserve_alone() -> None:
    encoder = load_encoder(BYTES)
    example = Example("a", "x" * 300, ("y" * 20,))
    training = build_row(encoder, PROMPTS["v1"], example, 256)
    evaluation = build_row(encoder, PROMPTS["v1"], example, 256, reserve_tokens=60)
    assert training.target_ids == evaluation.target_ids
    assert len(training.prompt_ids) + len(training.target_ids) == 256
    assert len(evaluation.prompt_ids) + 60 == 256


# --- lengths ---------------------------------------------------------------------------------------------------------


def samsum(split: str) -> list[Example]:
    corpus = load_corpus(DataSource("samsum", str(REAL / "samsum"), "local"), "dialogue", "summary")
    return corpus.splits[split]


@needs_real_data
def test_a_context_of_256_bytes_is_refused_with_the_lengths_that_do_not_fit() -> None:
    encoder, validation = load_encoder(BYTES), evaluation_order(samsum("validation"))
    with pytest.raises(UserError) as caught:
        check_lengths(encoder, PROMPTS, validation[:64], 256, reserve_tokens=128)
    message = str(caught.value)
    assert message.startswith("prompt 'v2' does not fit: 64 of 64 evaluation examples")
    for part in ("within 256 tokens", "instruction 124, cue 10, target ", "max_new_tokens 128", "shorten the prompt"):
        assert part in message
    (found,) = check_lengths(encoder, {"v1": PROMPTS["v1"]}, validation, 256, reserve_tokens=60)
    assert (found.instruction_tokens, found.cue_tokens, found.limit_tokens) == (25, 10, 256)
    assert 0.8 < found.fit / found.examples < 0.95
    assert found.cut > found.examples / 2


@pytest.mark.slow
@needs_real_data
def test_a_training_that_would_drop_more_than_half_is_refused() -> None:
    encoder, train = load_encoder(BYTES), training_order(samsum("train"), 42)[:500]
    with pytest.raises(UserError, match=r"of 500 training examples .* shorten the prompt or take a model"):
        check_lengths(encoder, {"v2": PROMPTS["v2"]}, train, 256, stage="training")
    assert lengths(load_encoder(GPT2), "v2", PROMPTS["v2"], train, 512).fit == 500


@needs_real_data
def test_an_instruction_longer_than_the_context_is_refused() -> None:
    encoder = load_encoder(BYTES)
    with pytest.raises(UserError, match=r"prompt 'long' does not fit: 1 of 1 .* .instruction 300, cue 1,"):
        check_lengths(encoder, {"long": "x" * 300 + "{source}:"}, [Example("a", "b", ("c",))], 256)


@needs_real_data
def test_a_prompt_that_fits_half_is_let_through() -> None:
    encoder = load_encoder(BYTES)
    examples = [Example("a", "x", ("y",)), Example("b", "x" * 99, ("y" * 99,))]
    (found,) = check_lengths(encoder, {"p": "{source}:"}, examples, 64)
    assert (found.fit, found.examples) == (1, 2)


# --- folders that are not whole --------------------------------------------------------------------------------------


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    return target


@needs_real_data
def test_a_tokenizer_without_end_of_text_is_refused(tmp_path: Path) -> None:
    folder = copy_of(GPT2, tmp_path / "m")
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="no end-of-text token"):
        load_encoder(folder)
    (folder / "config.json").write_text('{"eos_token_id": [50256, 11], "n_positions": 1024}')
    assert load_encoder(folder).eos_id == 50256
    assert context_length(folder) == 1024


@needs_real_data
@pytest.mark.parametrize("content", [b"{", b"", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    folder = copy_of(GPT2, tmp_path / "m")
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=r"the tokenizer in .*m cannot be read"):
        load_encoder(folder)


@needs_real_data
def test_settings_that_the_file_carries_truncate_and_pad_nothing(tmp_path: Path) -> None:
    folder = copy_of(BYTES, tmp_path / "m")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "Ā",
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    encoder = load_encoder(folder)
    assert encoder.encode("abcdefgh") == [ord(letter) for letter in "abcdefgh"]
    assert encoder.encode("ab") == [97, 98]


@needs_real_data
def test_decoding_leaves_out_special_tokens_and_ids_beyond_the_vocabulary() -> None:
    encoder: Encoder = load_encoder(PHI2)
    assert encoder.decode([*encoder.encode(" Hello world"), 51199, -100, 50256, 50256]) == " Hello world"


@needs_real_data
@pytest.mark.slow
def test_an_older_tokenizer_without_tokenizer_json_is_converted(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(GPT2 / name, folder / name)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    text = "A: Hi 😀 there\nB: no"
    encoder = load_encoder(folder)
    assert encoder.encode(text) == load_encoder(GPT2).encode(text)
    assert (encoder.eos_id, encoder.bos_ids) == (50256, ())
