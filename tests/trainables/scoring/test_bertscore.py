"""BERTScore by a model on disk: its definition, and what it says where no model is at hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from engine_inputs import write_model
from model_folders import with_weights

from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.scoring import bertscore, evaluate_library
from trainables.scoring.bertscore import score, scores
from trainables.scoring.metrics import signature

REAL = Path(__file__).resolve().parents[4] / "shared" / "real" / "models" / "dialogue-7M-gpt2"


def units(*angles: float) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])


def test_each_token_is_matched_to_the_most_alike_and_added_ones_do_not_count() -> None:
    ours = units(0.0, 0.5), torch.tensor([True, True])
    theirs = units(0.0, 1.0, 0.5), torch.tensor([True, True, False])
    f1, precision, recall = score(ours, theirs)
    assert precision == pytest.approx(1.0)  # 0.5 is matched to the added token, which does not count itself
    assert recall == pytest.approx((1 + math.cos(0.5)) / 2)
    assert f1 == pytest.approx(2 * recall / (1 + recall))
    assert score(ours, (units(0.1), torch.tensor([False]))) == (0.0, 0.0, 0.0)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
def test_a_model_on_disk_scores_what_means_the_same_higher() -> None:
    reference = "Anna will meet Ben in the park on Friday."
    texts = [reference, "Anna meets Ben on Friday in the park.", "Numbers, numbers, numbers."]
    same, near, far = scores("f1", {"model": str(REAL)}, [(text, [reference]) for text in texts])
    assert same == pytest.approx(1.0, abs=1e-5)
    assert far < near < 1
    several = scores("f1", {"model": str(REAL)}, [(texts[1], [texts[2], reference])])
    assert several == [near]


def test_a_model_whose_weights_are_not_whole_scores_nothing(tmp_path: Path) -> None:
    folder = with_weights(write_model(tmp_path / "m"), lambda w: {n: v for n, v in w.items() if ".h.1.mlp" not in n})
    with pytest.raises(UserError, match=r"4 missing, which would be random: h.1.mlp.c_fc.bias"):
        scores("f1", {"model": str(folder)}, [("a", ["a"])])


@pytest.mark.slow
def test_it_is_asked_for_like_any_metric_of_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "encoder")
    monkeypatch.chdir(tmp_path)
    entry = evaluate_library.entry_of("evaluate:bertscore#f1?model=encoder&layer=1")
    assert entry == f"evaluate:bertscore#f1?model={tmp_path / 'encoder'}&layer=1"
    examples = {"test": [Example("a", "s", ("one two",)), Example("b", "s", ("one two",))]}
    rows = {"test": [{"id": "a", "text": "one two", "scores": {}}, {"id": "b", "text": "six", "scores": {}}]}
    first, second = (
        row["scores"]["evaluate_bertscore_f1"] for row in evaluate_library.scored((entry,), rows, examples)["test"]
    )
    assert first == pytest.approx(1.0, abs=1e-5)
    assert 0 <= second < 1
    text = signature(("rouge", entry))
    assert "evaluate_bertscore_f1: BERTScore by encoder (config " in text
    assert "layer 1" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("key", "options", "words"),
    [
        ("f1", {}, "needs a model: write evaluate:bertscore#f1?model=FOLDER"),
        ("f1", {"model": "/no/such"}, "/no/such is no folder of one; write evaluate:bertscore"),
        ("f2", {"model": "m"}, "has no number 'f2'; did you mean 'f1'"),
        ("f1", {"modle": "m"}, "has no option 'modle'; did you mean 'model'"),
    ],
)
def test_without_a_model_it_says_what_to_give(key: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        scores(key, options, [("a", ["b"])])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_its_bare_name_is_answered_by_how_to_write_it() -> None:
    with pytest.raises(UserError, match=r"metric 'bertscore' needs a model: write evaluate:bertscore#f1\?model=FOLDER"):
        evaluate_library.entry_of("bertscore")
    assert bertscore.KEYS[0] == "f1"
