"""What a search is to make large or small: the metric that chooses, or several objectives at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainables.config import EvalConfig, external_of
from trainables.errors import UserError, nearest
from trainables.metric_table import CHOOSING, LOWER_IS_BETTER, is_missing

COSTS = {"trainable_parameters": "trainable_parameters", "runtime_s": "wall_s", "adapter_bytes": "adapter_bytes"}
"""What a trial takes, all to be small, and the field of its result that says so."""


@dataclass(frozen=True)
class Objective:
    """A metric of the evaluation or a cost, and whether it is to be small."""

    name: str
    is_small: bool = False

    @property
    def label(self) -> str:
        """Return how it is declared: rougeL, or with a minus where it is to be small, -runtime_s."""
        return f"-{self.name}" if self.is_small else self.name

    @property
    def direction(self) -> str:
        """Return its direction as Optuna names it."""
        return "minimize" if self.is_small else "maximize"

    @property
    def is_cost(self) -> bool:
        return self.name in COSTS


def objectives_of(declared: Sequence[str], metric: str, evaluation: EvalConfig) -> tuple[Objective, ...]:
    """Return the objectives of a search, its metric alone where none are declared; UserError for one that cannot be."""
    if not declared:
        check_metric(metric, evaluation)
        return (Objective(metric, metric in LOWER_IS_BETTER),)
    found = tuple(_objective(one, evaluation) for one in declared)
    names = [one.name for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"objectives: {twice[0]} is named twice")
    if len(found) == 1:
        raise UserError(f"objectives must be two or more, got {declared[0]!r} alone; one is Experiment(metric=...)")
    return found


def _objective(declared: str, evaluation: EvalConfig) -> Objective:
    name = declared.removeprefix("-")
    known = _metrics(evaluation)
    if name not in COSTS and name not in known:
        every = [Objective(one, one in LOWER_IS_BETTER or one in COSTS).label for one in (*known, *COSTS)]
        raise UserError(f"objective {declared!r} is unknown; {nearest(declared, every)}")
    right = Objective(name, name in COSTS or name in LOWER_IS_BETTER)
    if declared != right.label:
        rule = "is to be small: write a minus before it" if right.is_small else "is to be large: write no minus"
        raise UserError(f"objective {declared!r} {rule}, {right.label!r}")
    if not right.is_cost:
        check_metric(name, evaluation, "objective")
    return right


def check_metric(metric: str, evaluation: EvalConfig, called: str = "metric") -> None:
    """Raise UserError unless the choice can be made by `metric`."""
    known = _metrics(evaluation)
    if metric not in known:
        raise UserError(f"{called} {metric!r} is unknown; {nearest(metric, known)}")
    if is_missing(metric, evaluation.metrics):
        raise UserError(
            f"{called} {metric!r} needs it among the evaluation's metrics: EvalConfig(metrics=('rouge', {metric!r}))"
        )


def _metrics(evaluation: EvalConfig) -> tuple[str, ...]:
    stored = [one.score_name for name in evaluation.metrics if (one := external_of(name))]
    return (*CHOOSING, *stored)
