"""Texts: the library's where rows are alone, and the same whatever the neighbours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import REAL, engine_of, evaluation_of, trial, write_model, write_sweep
from transformers import AutoModelForCausalLM, RepetitionPenaltyLogitsProcessor

from trainables.bases.load import load_base
from trainables.config import Decoding
from trainables.decoding import generate
from trainables.decoding.generate import Completion, GumbelNoise, PenaltyWithoutPadding, Prompt, Writing, generate_batch
from trainables.jobs import Interrupted, go_on
from trainables.tokenization.encoder import load_encoder

GREEDY, BEAM = Decoding(), Decoding(strategy="beam", num_beams=3)
SAMPLE = Decoding(strategy="sample", temperature=0.9, top_k=50, top_p=0.95, repetition_penalty=1.2)
STORIES = REAL / "models" / "stories260K-llama"
TALE = "Once upon a time, there was a little {} who"
BEINGS = ("dog", "girl named Lily", "boy", "tree and a bird", "very old and very big bear", "car")


@pytest.fixture(scope="module")
def storyteller() -> tuple[Any, list[Prompt]]:
    if not STORIES.is_dir():
        pytest.skip("../shared/real is absent")
    encoder = load_encoder(STORIES)
    prompts = [Prompt(being, (*encoder.bos_ids, *encoder.encode(TALE.format(being)))) for being in BEINGS]
    return load_base(STORIES, trial().train, "cpu"), prompts


def writing(decoding: Decoding, tokens: int = 24, eos_id: int = 2, seed: int = 42) -> Writing:
    return Writing(decoding, tokens, eos_ids=(eos_id,), pad_id=eos_id, seed=seed)


@pytest.mark.parametrize("decoding", [GREEDY, BEAM, SAMPLE, Decoding(repetition_penalty=1.5)], ids=str)
def test_a_text_is_the_same_in_a_batch_and_alone(storyteller: tuple[Any, list[Prompt]], decoding: Decoding) -> None:
    base, prompts = storyteller
    # The token of "." as the end: texts then end early, and at different lengths.
    stop = load_encoder(STORIES).encode("the.")[-1]
    together = generate_batch(base, prompts, writing(decoding, eos_id=stop), go_on)
    alone = [generate_batch(base, [prompt], writing(decoding, eos_id=stop), go_on)[0] for prompt in prompts]
    assert together == alone
    assert len(set(together)) > 2
    assert "eos" in {one.ended for one in together}


@pytest.mark.parametrize("decoding", [GREEDY, SAMPLE, BEAM], ids=["greedy", "sample", "beam"])
def test_a_prompt_is_read_once_for_its_text_and_its_references_loss(
    storyteller: tuple[Any, list[Prompt]], decoding: Decoding
) -> None:
    base, prompts = storyteller
    read: list[tuple[int, int]] = []

    def note(module: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        ids = options.get("input_ids", inputs[0] if inputs else None)
        if ids.shape[1] > 1:
            read.append(tuple(ids.shape))

    with_reference = [replace(prompt, target_ids=prompt.ids[1:5]) for prompt in prompts]
    handle = base.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        found = generate_batch(base, with_reference, writing(decoding), go_on)
    finally:
        handle.remove()
    assert sum(rows for rows, _ in read) == len(prompts)
    for one, prompt in zip(found, with_reference, strict=True):
        ids = torch.tensor([[*prompt.ids, *prompt.target_ids]])
        with torch.no_grad():
            nll = torch.nn.functional.cross_entropy(base.model(ids).logits[0, -5:-1], ids[0, -4:], reduction="sum")
        assert one.loss == (pytest.approx(nll.item(), rel=1e-5), 4)


def test_beams_are_those_of_the_plain_library(storyteller: tuple[Any, list[Prompt]]) -> None:
    base, prompts = storyteller
    plain = AutoModelForCausalLM.from_pretrained(STORIES)
    stop = load_encoder(STORIES).encode("the.")[-1]
    options = {"num_beams": 3, "do_sample": False, "eos_token_id": stop, "pad_token_id": stop}
    for prompt, found in zip(prompts, generate_batch(base, prompts, writing(BEAM, 30, stop), go_on), strict=True):
        ids = torch.tensor([prompt.ids])
        expected = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, **options)
        new = expected[0, len(prompt.ids) :].tolist()
        assert found.ids == tuple(new[: new.index(stop)] if stop in new else new)


def test_greedy_texts_are_those_of_the_plain_library(storyteller: tuple[Any, list[Prompt]]) -> None:
    base, prompts = storyteller
    plain = AutoModelForCausalLM.from_pretrained(STORIES)
    stop = load_encoder(STORIES).encode("the.")[-1]
    for prompt, found in zip(prompts, generate_batch(base, prompts, writing(GREEDY, 40, stop), go_on), strict=True):
        ids = torch.tensor([prompt.ids])
        mask = torch.ones_like(ids)
        expected = plain.generate(
            ids, attention_mask=mask, max_new_tokens=40, do_sample=False, eos_token_id=stop, pad_token_id=stop
        )[0, ids.shape[1] :].tolist()
        assert list(found.ids) + ([stop] if found.ended == "eos" else []) == expected


def test_rows_that_go_on_after_others_ended_are_not_changed_by_that(
    storyteller: tuple[Any, list[Prompt]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, prompts = storyteller
    stop = load_encoder(STORIES).encode("the.")[-1]
    calls = []
    real = base.model.generate
    monkeypatch.setattr(base.model, "generate", lambda **options: calls.append(options) or real(**options))
    monkeypatch.setattr(generate, "LEAST_ROWS", 1)
    compacted = generate_batch(base, prompts, writing(SAMPLE, 40, stop), go_on)
    assert len(calls) > 1
    assert [options["input_ids"].shape[0] for options in calls] == sorted(
        (options["input_ids"].shape[0] for options in calls), reverse=True
    )
    monkeypatch.setattr(generate, "LEAST_ROWS", 100)
    assert generate_batch(base, prompts, writing(SAMPLE, 40, stop), go_on) == compacted


def test_sampling_depends_on_seed_example_and_position(storyteller: tuple[Any, list[Prompt]]) -> None:
    base, prompts = storyteller

    def texts(seed: int, names: tuple[str, ...]) -> list[Completion]:
        named = [Prompt(name, prompts[0].ids) for name in names]
        return generate_batch(base, named, writing(SAMPLE, seed=seed), go_on)

    first = texts(42, ("a", "b", "c"))
    assert len(set(first)) == 3
    torch.manual_seed(5)
    assert texts(42, ("c", "a")) == [first[2], first[0]]
    assert texts(43, ("a",)) != first[:1]


def test_gumbel_noise_and_the_largest_is_a_draw_from_the_distribution() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    counts = torch.zeros(3)
    for start in range(0, 4000, 500):
        noise = GumbelNoise(1, [str(index) for index in range(start, start + 500)], prompt_width=4)
        chosen = noise(torch.zeros(500, 4, dtype=torch.long), logits.repeat(500, 1)).argmax(dim=1)
        counts += torch.bincount(chosen, minlength=3)
    assert (counts / counts.sum()).tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_the_repetition_penalty_ignores_padding_and_is_the_librarys_without() -> None:
    scores = torch.tensor([[1.0, -1.0, 2.0, -2.0, 0.5]])
    row, padded = torch.tensor([[3, 2]]), torch.tensor([[0, 0, 0, 3, 2]])
    expected = RepetitionPenaltyLogitsProcessor(1.3)(row, scores.clone())
    ours = PenaltyWithoutPadding(1.3, torch.tensor([3]))
    assert torch.equal(ours(padded, scores), expected)
    assert ours(padded, scores)[0, 0] == 1.0
    assert RepetitionPenaltyLogitsProcessor(1.3)(padded, scores.clone())[0, 0] != 1.0
    beams = ours(padded.repeat(4, 1), scores.repeat(4, 1))
    assert torch.equal(beams, expected.repeat(4, 1))


def test_an_interruption_is_heard_while_tokens_are_written(storyteller: tuple[Any, list[Prompt]]) -> None:
    base, prompts = storyteller
    asked = []

    def control() -> Any:
        asked.append(1)
        return "interrupt" if len(asked) == 2 else "go"

    with pytest.raises(Interrupted):
        generate_batch(base, prompts, writing(GREEDY, 100, eos_id=2), control)
    assert len(asked) == 2


def test_bf16_texts_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    from trainables.trial.evaluate import ModelReader, texts

    sweep = write_sweep(tmp_path / "sweep", validation=12)
    engine = engine_of(sweep, write_model(tmp_path / "m", width=64))
    one = trial(evaluation_of(16, validation=12), precision="bf16")
    rows = engine.tokenized.evaluation_rows(one.train, "validation", 12, 16)
    reader = ModelReader(engine.base(one.train), engine.tokenized.encoder(one.train), one.train, "cpu", go_on)
    together = texts(reader, rows, GREEDY, 16)
    assert [texts(reader, [row], GREEDY, 16)[0] for row in rows] == together
