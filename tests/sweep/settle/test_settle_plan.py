"""What `--settle` may be given, what it makes of an evaluation, and what is said beforehand."""

from __future__ import annotations

import pytest

from sweep.cli_support.options import with_values
from sweep.settle.sentences import beforehand, race_line
from sweep.settle.settle_plan import check_settling, margin_of, plan_of_json, settle_plan
from trainables.config import EvalConfig, eval_id
from trainables.errors import UserError

EVALUATION = EvalConfig(validation_examples=64, test_examples=128)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["grid", "--settle"], ["grid", "--settle", "auto"]),
        (["grid", "--settle", "2.5", "a=1"], ["grid", "--settle", "2.5", "a=1"]),
        (["--settle", "grid"], ["--settle", "auto", "grid"]),
        (["grid", "--settle", "--smoke"], ["grid", "--settle", "auto", "--smoke"]),
        (["grid", "--settle", "-1"], ["grid", "--settle", "-1"]),
        (["grid", "--settle=1"], ["grid", "--settle=1"]),
    ],
)
def test_a_margin_may_be_left_out(typed: list[str], read: list[str]) -> None:
    assert with_values(typed) == read


def test_a_margin_is_in_points() -> None:
    assert margin_of("auto") is None
    assert margin_of("2.5") == pytest.approx(0.025)
    for wrong in ("0", "-1", "nan", "inf", "101", "two"):
        with pytest.raises(UserError, match=f"--settle must be a margin in points above 0 .* got '{wrong}'"):
            margin_of(wrong)


def test_a_race_needs_validation_examples_and_a_score_of_each() -> None:
    with pytest.raises(UserError, match=r"validation_examples=0; give --eval-examples 64,128"):
        check_settling("rougeL", EvalConfig(validation_examples=0))
    with pytest.raises(UserError, match=r"got 'eval_loss', .* choose by --metric rougeL"):
        check_settling("eval_loss", EVALUATION)
    check_settling("chrf", EVALUATION)
    with pytest.raises(UserError, match="at least 2 validation examples to compare on, got 1"):
        settle_plan("rougeL", None, EVALUATION, 1, is_search=False)


def test_a_first_look_is_small_and_keeps_the_curves_of_training() -> None:
    plan = settle_plan("rougeL", None, EVALUATION, 800, is_search=False)
    assert plan.first.examples == {"validation": 16}
    assert plan.whole.examples == {"validation": 800, "test": 128}
    assert plan.first.on_curve == plan.whole.on_curve == 64
    assert eval_id(plan.look(64)) == eval_id(EvalConfig(validation_examples=64, test_examples=0))
    assert eval_id(plan.report(64)) == eval_id(EVALUATION)
    assert settle_plan("rougeL", None, EVALUATION, 800, is_search=True).first.examples == {"validation": 64}
    assert settle_plan("rougeL", None, EVALUATION, 10, is_search=False).first.examples == {"validation": 10}
    assert plan_of_json(plan.as_json()) == plan


def test_what_the_examples_can_settle_is_said_beforehand() -> None:
    said = beforehand(settle_plan("rougeL", 0.01, EVALUATION, 800, is_search=False), 8)
    assert "800 validation examples settle a choice of 8 configurations within" in said
    assert "1 point may stay open" in said
    assert race_line(None) is None
    plan = settle_plan("rougeL", None, EVALUATION, 800, is_search=False)
    assert race_line(plan.as_json()) == "race: no look yet of up to 800 examples"
