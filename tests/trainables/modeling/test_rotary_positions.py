"""Rotary factors that depend on a text's length: a row has those of its own, whatever stands beside it or behind it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import VOCABULARY, trial, write_model
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config

from trainables.bases.load import load_base
from trainables.config import Decoding
from trainables.decoding.generate import Completion, Prompt, Writing, decoding_batches, generate_batch
from trainables.jobs import go_on
from trainables.modeling.loss import collate, completion_nll, row_sums
from trainables.tokenization.token_rows import TokenRow

BOUNDARY = 40
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def write(folder: Path, kind: str) -> Path:
    """Write a model whose factors depend on the length, the tokenizer that of the other tests."""
    config: Any
    if kind == "longrope":
        factors = {"short_factor": [1.0] * 8, "long_factor": [1.5 + number for number in range(8)]}
        config = Phi3Config(
            max_position_embeddings=256,
            original_max_position_embeddings=BOUNDARY,
            rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors},
            **SHAPE,
        )
    else:
        rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
        config = LlamaConfig(max_position_embeddings=BOUNDARY, rope_parameters=rope, **SHAPE)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    donor = write_model(folder.parent / f"donor-{kind}")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(donor / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("m") / "phi3", "longrope")


def ids_of(count: int, seed: int) -> tuple[int, ...]:
    return tuple((seed + 7 * number * number) % (VOCABULARY - 1) + 1 for number in range(count))


LENGTHS = (6, 30, 36, 39, 40, 41, 60, 90)  # on both sides of the boundary, some of which pass it while they are written


def by_the_library(folder: Path, ids: tuple[int, ...], new_tokens: int, beams: int) -> list[int]:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        found = plain.generate(torch.tensor([ids]), max_new_tokens=new_tokens, do_sample=False, num_beams=beams)
    written: list[int] = found[0, len(ids) :].tolist()
    return written[: written.index(0)] if 0 in written else written


def written(folder: Path, prompts: list[Prompt], writing: Writing) -> list[Completion]:
    base = load_base(folder, trial().train, "cpu")
    found: dict[int, Completion] = {}
    for group in decoding_batches(base, prompts, writing.rows, writing):
        texts = generate_batch(base, [prompts[index] for index in group], writing, go_on)
        found |= dict(zip(group, texts, strict=True))
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(strategy="beam", num_beams=2)], ids=["greedy", "beam"])
@pytest.mark.parametrize("target", [3, 50])
def test_a_text_depends_neither_on_its_neighbours_nor_on_its_references_length(
    phi3: Path, decoding: Decoding, target: int
) -> None:
    beams = decoding.num_beams if decoding.strategy == "beam" else 1
    prompts = [Prompt(str(count), ids_of(count, count), 42, ids_of(target, 5)) for count in LENGTHS]
    found = written(phi3, prompts, Writing(decoding, 12, (0,), 0, 42))
    wanted = [by_the_library(phi3, prompt.ids, 12, beams) for prompt in prompts]
    assert [list(one.ids) for one in found] == wanted


def test_a_loss_and_its_gradient_are_those_of_the_row_alone_by_the_library(phi3: Path) -> None:
    base = load_base(phi3, trial().train, "cpu")
    plain = AutoModelForCausalLM.from_pretrained(phi3, dtype=torch.float32)
    rows = [TokenRow(str(count), ids_of(count, count), ids_of(6, 3), 0, True) for count in LENGTHS]
    batch = collate(rows, 0)
    with torch.no_grad():
        together = [loss for loss, _ in row_sums(completion_nll(base, batch), batch, len(rows))]
        wanted = []
        for row in rows:
            ids = torch.tensor([row.prompt_ids + row.target_ids])
            labels = ids.clone()
            labels[:, : len(row.prompt_ids)] = -100
            wanted.append(float(plain(ids, labels=labels).loss) * len(row.target_ids))
        # What the library gives for all of them at once is another number for the short ones.
        length = len(rows[0].prompt_ids + rows[0].target_ids)
        mixed = plain(input_ids=batch.input_ids_BT, position_ids=batch.position_ids_BT).logits[0, : length - 1]
        alone = plain(input_ids=batch.input_ids_BT[:1, :length]).logits[0, :-1]
    assert together == pytest.approx(wanted, rel=1e-5)
    assert (mixed - alone).abs().max() > 1e-2


def test_a_base_that_chooses_by_length_reads_no_strings_and_others_are_left_alone(phi3: Path, tmp_path: Path) -> None:
    base = load_base(phi3, trial().train, "cpu")
    assert base.capabilities.rotary_boundary_tokens == BOUNDARY
    assert not base.capabilities.sequence_packing
    assert base.capabilities.refused["sequence_packing"] == "rotary positions look at the length of a whole row"
    plain = load_base(write_model(tmp_path / "m", "phi"), trial().train, "cpu")
    assert plain.capabilities.rotary_boundary_tokens is None


def test_factors_that_grow_with_the_longest_text_do_not_within_the_context(tmp_path: Path) -> None:
    folder = write(tmp_path / "llama", "dynamic")
    assert json.loads((folder / "config.json").read_text())["rope_parameters"]["rope_type"] == "dynamic"
    prompts = [Prompt(str(count), ids_of(count, count)) for count in (5, 20, BOUNDARY - 8)]
    found = written(folder, prompts, Writing(Decoding(), 8, (0,), 0, 42))
    assert [list(one.ids) for one in found] == [by_the_library(folder, prompt.ids, 8, 1) for prompt in prompts]
