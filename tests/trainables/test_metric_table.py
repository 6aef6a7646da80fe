"""The table of metrics: it names what scoring gives, and everything that a user may ask for."""

from __future__ import annotations

import pytest

from trainables.config import EvalConfig
from trainables.metric_table import BY_NAME, CHOOSING, FAMILIES, LOWER_IS_BETTER, METRICS, metric_of, names_of
from trainables.scoring.metrics import score


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_exactly_the_scores_that_the_table_has_of_it_in_its_order(family: str) -> None:
    assert tuple(score("a cat sat", ["the cat sat"], (family,))) == names_of((family,))


def test_every_family_is_one_that_an_evaluation_may_name() -> None:
    assert EvalConfig(metrics=FAMILIES).metrics == FAMILIES == ("rouge", "rouge_pr", "chrf", "bleu")


def test_what_may_choose_begins_with_the_default_and_loss_alone_is_better_when_lower() -> None:
    assert CHOOSING == ("rougeL", "rouge1", "rouge2", "rougeLsum", "chrf", "bleu", "eval_loss")
    assert {"eval_loss"} == LOWER_IS_BETTER


def test_no_two_metrics_share_a_name_or_a_title() -> None:
    for field in ("name", "title", "short"):
        values = [getattr(one, field) for one in METRICS]
        assert len(set(values)) == len(values), field


def test_a_score_is_in_points_and_a_loss_in_nats() -> None:
    assert {(one.kind, one.scale, one.unit, one.style) for one in METRICS} == {
        ("text", 100.0, "points", "points"),
        ("loss", 1.0, "nats per token", "loss"),
    }


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("rougeL_unstemmed", "unstemmed ROUGE-L"),
        ("rouge1_precision_unstemmed", "unstemmed ROUGE-1 precision"),
        ("eval_loss", "evaluation loss"),
        ("evaluate_bertscore_f1", "BERTScore F1"),
        ("evaluate_wer", "wer (evaluate)"),
    ],
)
def test_a_metric_is_called_what_people_call_it(name: str, title: str) -> None:
    assert metric_of(name).title == title
    assert (name in BY_NAME) != name.startswith("evaluate_")
