"""What is said of the choice itself: that it was a tie, and that few examples made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.comparison.comparison import Comparison
from analysis.findings.sentences import conclusions, value_of
from sweep.export.model_card import model_card
from trainables.config import EvalConfig
from trainables.records.manifest import DataEntry, ModelEntry, SweepManifest, SweepOrigin, SweepSources

Make = Callable[..., Path]
EIGHT = EvalConfig(validation_examples=8, test_examples=8)


def perfect() -> list:
    return [
        baseline(quality=1.0),
        *(configuration(name, rank=rank, quality=1.0) for name, rank in (("A", 8), ("B", 16))),
    ]


def test_a_tie_is_called_one_and_a_choice_is_not(make_sweep: Make) -> None:
    tied = compare(make_sweep(perfect(), EIGHT))
    assert conclusions(tied)[1].startswith(
        "The choice was a tie: B scores the same on validation; A is taken as the first"
    )
    assert not any("tie" in sentence for sentence in conclusions(compare(make_sweep())))


@pytest.mark.parametrize(("count", "says"), [(1, True), (9, True), (10, False)])
def test_a_choice_on_fewer_than_ten_examples_means_little(make_sweep: Make, count: int, says: bool) -> None:
    found = compare(make_sweep(grid(), EvalConfig(validation_examples=count, test_examples=20)))
    examples = "example" if count == 1 else "examples"
    sentence = f"The choice was made on {count} validation {examples}: on fewer than 10 it means little."
    assert (sentence in conclusions(found)) == says


@pytest.mark.parametrize(
    ("trials", "place"), [(perfect(), "first of 2 that tie as best of 2"), (grid(), "the best of 8")]
)
def test_the_card_says_whether_the_choice_was_a_tie(make_sweep: Make, trials: list, place: str) -> None:
    card = card_of(compare(make_sweep(trials, EIGHT)))
    assert f"{place} configurations by ROUGE-L on validation" in card
    assert ("The choice was a tie" in card) == (len(trials) == 3)


@pytest.mark.parametrize(
    ("metric", "title"),
    [("bleu", "BLEU"), ("chrf", "chrF"), ("eval_loss", "evaluation loss"), ("rouge1_recall", "ROUGE-1 recall")],
)
def test_the_card_has_a_row_of_what_chose(make_sweep: Make, metric: str, title: str) -> None:
    evaluation = EvalConfig(validation_examples=8, test_examples=8, metrics=("rouge", "rouge_pr", "chrf", "bleu"))
    found = compare(make_sweep(grid(), evaluation, metric=metric))
    assert found.best_trial
    values = [found.best_trial.mean(split, metric) for split in ("validation", "test")]
    row = f"| {title} | {' | '.join(value_of(metric, value) for value in values if value is not None)} |"
    assert row in card_of(found)


def card_of(found: Comparison) -> str:
    about = {"kind": "bundled", "fingerprint": "0" * 64}
    sources = SweepSources(
        model=ModelEntry(label="pocket-gpt2", **about), data=DataEntry(label="pocket-chats", **about)
    )
    origin = SweepOrigin(processor="x86_64", cores=2, python="3.12")
    assert found.best_trial
    return model_card(found, found.best_trial, SweepManifest(resolved=sources, provenance=origin))
