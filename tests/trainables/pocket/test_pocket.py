"""The pocket corpus resists trivial summaries, its splits share no phrase, and the pocket model loads and fits."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from trainables.errors import UserError
from trainables.pocket import LEARNING_RATES, model_folder, phrases_eval, phrases_pretrain, phrases_train, records
from trainables.pocket.scenes import SCENES, Phrases
from trainables.pocket.texts import texts
from trainables.prompts import PROMPTS

SPLITS = ("train", "validation", "test")
BANKS = {"train": phrases_train, "evaluation": phrases_eval, "pretraining": phrases_pretrain}
# What a trivial summary may score at most, as a share of what a second human-like wording of the reference scores.
TRIVIAL_SHARE = 0.6


@cache
def rouge_l(reference: str, summary: str) -> float:
    """ROUGE-L F in points, stemmed."""
    from rouge_score.rouge_scorer import RougeScorer

    score = RougeScorer(["rougeL"], use_stemmer=True).score(reference, summary)["rougeL"]
    return 100.0 * float(score.fmeasure)


def turns_of(record: dict[str, str]) -> list[str]:
    return [line.split(": ", 1)[1] for line in record["dialogue"].split("\n")]


def score_on_test(summarize: Callable[[dict[str, str]], str]) -> float:
    return fmean(rouge_l(record["summary"], summarize(record)) for record in records("test", 128))


def best_constant() -> str:
    references = [record["summary"] for record in records("train", 64)]
    return max(references, key=lambda summary: sum(rouge_l(reference, summary) for reference in references))


@pytest.fixture(scope="module")
def paraphrase_score() -> float:
    return score_on_test(lambda record: record["paraphrase"])


def test_the_paraphrase_scores_well_but_is_no_copy(paraphrase_score: float) -> None:
    assert 55.0 < paraphrase_score < 75.0
    assert all(record["paraphrase"] != record["summary"] for record in records("test"))


def test_the_first_turn_is_no_summary(paraphrase_score: float) -> None:
    assert score_on_test(lambda record: turns_of(record)[0]) < TRIVIAL_SHARE * paraphrase_score


def test_the_longest_turn_is_no_summary(paraphrase_score: float) -> None:
    assert score_on_test(lambda record: max(turns_of(record), key=len)) < TRIVIAL_SHARE * paraphrase_score


@pytest.mark.slow
def test_the_best_constant_is_no_summary(paraphrase_score: float) -> None:
    constant = best_constant()
    assert score_on_test(lambda record: constant) < TRIVIAL_SHARE * paraphrase_score


def flat(bank: Phrases) -> set[str]:
    return {template for templates in bank.values() for template in templates}


@pytest.mark.parametrize("part", ["CHAT", "TELLINGS"])
@pytest.mark.parametrize(
    ("one", "other"), [("train", "evaluation"), ("train", "pretraining"), ("evaluation", "pretraining")]
)
def test_splits_share_no_template(one: str, other: str, part: str) -> None:
    assert not flat(getattr(BANKS[one], part)) & flat(getattr(BANKS[other], part))


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_has_a_phrase_for_every_turn_of_every_scene(name: str) -> None:
    spoken = {slot for scene in SCENES for turn in scene.turns.split(" ") for slot in turn.split(":")[1].split("+")}
    assert spoken <= set(BANKS[name].CHAT)
    assert {scene.telling for scene in SCENES} == set(BANKS[name].TELLINGS)
    for templates in [*BANKS[name].CHAT.values(), *BANKS[name].TELLINGS.values()]:
        assert len(templates) >= 2
        assert len(set(templates)) == len(templates)


def test_ids_and_dialogues_are_unique_in_and_between_splits() -> None:
    every = [record for split in SPLITS for record in records(split)]
    assert [len(records(split)) for split in SPLITS] == [2000, 400, 400]
    assert len({record["id"] for record in every}) == len(every)
    assert len({record["dialogue"] for record in every}) == len(every)


def test_a_larger_request_starts_with_a_smaller_one() -> None:
    assert records("train", 9)[:4] == records("train", 4)
    assert records("train", 0) == []


def test_records_are_the_same_everywhere() -> None:
    sample = [record for split in SPLITS for record in records(split, 5)]
    digest = hashlib.sha256(json.dumps(sample, sort_keys=True).encode()).hexdigest()
    assert digest == "5d4a1fdce3f9bffe87625ed55d0859f66b3dd51d26e5c04f113c5d8f19545911"


def test_no_slot_is_left_unfilled() -> None:
    for record in [record for split in SPLITS for record in records(split)]:
        assert not set("{}") & set("".join(record.values())), f"unfilled slot in {record}"


@pytest.mark.parametrize(("split", "count"), [("dev", 1), ("train", -1)])
def test_a_wrong_request_is_refused(split: str, count: int) -> None:
    with pytest.raises(UserError):
        records(split, count)


def test_pretraining_texts_never_take_the_form_of_the_task() -> None:
    corpus = [record for split in SPLITS for record in records(split, 100)]
    every = "\n".join(islice(texts("test"), 3000))
    assert "Summary" not in every
    assert "Summarize" not in every
    assert not any(template.split("{source}")[0] in every for template in PROMPTS.values())
    assert not any(record["summary"] in every or record["dialogue"] in every for record in corpus)


def test_a_chat_is_never_followed_directly_by_what_it_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.pocket.texts.tell", lambda rng, story, tellings, count: ["@TOLD"] * count)
    every = list(islice(texts("order"), 2000))
    assert any("@TOLD" in text and ": " in text for text in every)
    assert not [text for text in every if re.search(r"^\w+: .*\s+@TOLD", text, re.MULTILINE)]


def test_the_package_imports_no_torch() -> None:
    code = "import sys, trainables.pocket; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shipped_folder_is_small_and_holds_safetensors_alone() -> None:
    files = [path for path in model_folder().iterdir() if path.is_file()]
    names = {path.name for path in files}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert sum(path.stat().st_size for path in files) < 20 * 2**20
    high, low = LEARNING_RATES
    assert high / low == pytest.approx(2.5)


def load_and_generate(folder: Path) -> tuple[int, list[int]]:
    """The vocabulary size, and the ids of a prompt with three generated tokens after it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert tokenizer.eos_token == tokenizer.bos_token == "<|endoftext|>"
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.n_positions == 512
    ids = tokenizer("Anna: hello Ben\nBen:", return_tensors="pt").input_ids
    out = model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return len(tokenizer), out[0].tolist()


def test_the_shipped_model_loads_and_its_tokenizer_round_trips() -> None:
    from transformers import AutoTokenizer

    size, _ = load_and_generate(model_folder())
    assert 1000 < size < 5000
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    for text in [records("test", 1)[0]["dialogue"], " Żółć 🙂\n\nSummary:", " a  b"]:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text
        assert tokenizer(text).input_ids == ids, "the tokenizer must add no special token by itself"


def test_summaries_and_dialogues_are_short_on_tokens() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    sample = records("test", 128)
    assert 50 < fmean(len(tokenizer(record["dialogue"]).input_ids) for record in sample) < 110
    assert 12 < fmean(len(tokenizer(" " + record["summary"]).input_ids) for record in sample) < 22


@pytest.mark.slow
def test_a_few_steps_of_pretraining_lower_the_loss_and_load(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainables.pocket.pretrain", "--out", str(tmp_path / "model")]
    command += ["--steps", "12", "--batch", "1", "--layers", "1", "--width", "64", "--vocabulary", "600"]
    command += ["--tokenizer-texts", "200", "--log-every", "4"]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    losses = [json.loads(line)["loss"] for line in run.stdout.splitlines() if "step" in line]
    assert losses[-1] < losses[0], f"the loss did not fall: {losses}"
    size, _ = load_and_generate(tmp_path / "model")
    assert size == 600
