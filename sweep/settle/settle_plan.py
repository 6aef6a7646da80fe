"""What `--settle` asks of a sweep: the margin, the first look, and the most that may be looked at (no torch)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trainables.config import EvalConfig
from trainables.errors import UserError
from trainables.metric_table import LOSS, LOWER_IS_BETTER

FIRST_LOOK = 16  # validation examples that each configuration is evaluated on as it ends
FEWEST = 2  # from which a spread can be told
MOST_ON_CURVE = 64
AUTO = "auto"
POINT = 0.01  # of a score from 0 to 1


@dataclass(frozen=True)
class SettlePlan:
    """A race of configurations on growing sets of validation examples; margin None: the least that these can settle."""

    metric: str
    margin: float | None  # in the metric's own unit
    first: EvalConfig  # of every trial as it ends
    whole: EvalConfig  # the most that is looked at, and what is reported on
    most_seeds: int = 1  # that those left of the race may be run with, the first one counted

    def look(self, examples: int) -> EvalConfig:
        """Return the evaluation of those that are still in the race at a look."""
        return self.whole.model_copy(update={"validation_examples": examples, "test_examples": 0})

    def report(self, examples: int) -> EvalConfig:
        """Return the evaluation of those that are reported, after a last look at so many."""
        return self.whole.model_copy(update={"validation_examples": examples})

    def as_json(self) -> dict[str, Any]:
        """Return it as sweep.json keeps it."""
        evaluations = {"first": self.first.model_dump(mode="json"), "whole": self.whole.model_dump(mode="json")}
        return {"metric": self.metric, "margin": self.margin, "most_seeds": self.most_seeds, **evaluations}


def plan_of_json(kept: dict[str, Any]) -> SettlePlan:
    """Return the plan that `SettlePlan.as_json` wrote."""
    first, whole = (EvalConfig.model_validate(kept[name]) for name in ("first", "whole"))
    return SettlePlan(kept["metric"], kept["margin"], first, whole, kept.get("most_seeds", 1))


def margin_of(text: str) -> float | None:
    """Return the margin of `--settle` as a score, None for auto; raises UserError with the rule."""
    if text == AUTO:
        return None
    try:
        points = float(text)
    except ValueError:
        points = math.nan
    if not 0 < points <= 100:
        rule = "a margin in points above 0 and at most 100, such as 1, or auto"
        raise UserError(f"--settle must be {rule}, got {text!r}")
    return points * POINT


def check_settling(metric: str, evaluation: EvalConfig) -> None:
    """Raise UserError where configurations cannot race: no validation examples, or no score for each of them."""
    if not evaluation.validation_examples:
        raise UserError(
            "--settle needs validation examples to choose on, got validation_examples=0; give --eval-examples 64,128"
        )
    if metric == LOSS or metric in LOWER_IS_BETTER:
        raise UserError(
            f"--settle needs a metric with a score of each example, got {metric!r}, which is made of all tokens; "
            "choose by --metric rougeL"
        )


def settle_plan(metric: str, margin: float | None, evaluation: EvalConfig, most: int, is_search: bool) -> SettlePlan:
    """Return the race of an experiment with this evaluation whose split has `most` examples to look at.

    The curves of training stay as they are without a race, so that the same is trained and stopped; where many examples
    are asked for they are no longer than usual.
    """
    from analysis.statistics.race_rules import looks

    if most < FEWEST:
        raise UserError(f"--settle needs at least {FEWEST} validation examples to compare on, got {most}")
    curve = min(evaluation.on_curve, MOST_ON_CURVE)
    whole = evaluation.model_copy(update={"validation_examples": most, "curve_examples": curve})
    size = evaluation.validation_examples if is_search else FIRST_LOOK
    first = looks(min(size, most), most)[0]
    early = whole.model_copy(update={"validation_examples": first, "test_examples": 0})
    return SettlePlan(metric, margin, early, whole)
