"""A request with `--settle`: the race that it asks for in its data, and what of it is left to evaluate (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from search_spaces.experiment import Experiment
from sweep.request.overrides import Request
from sweep.request.trials import PlannedTrial, jobs_left
from sweep.settle.next_step import next_step
from sweep.settle.sentences import beforehand
from sweep.settle.settle_plan import SettlePlan, check_settling, margin_of, settle_plan
from trainables.errors import UserError
from trainables.jobs import TrialJob
from trainables.records.record import SweepFolder


def check_settle_option(text: str | None, experiment: Experiment) -> None:
    """Raise UserError for a `--settle` that cannot be, before anything is read."""
    if text is not None:
        margin_of(text)
        check_settling(experiment.metric, experiment.evaluation)
        objectives = experiment.search.objectives if experiment.search else ()
        if len(objectives) > 1:
            raise UserError(
                f"--settle looks for the best by one metric, got the objectives {', '.join(objectives)}; leave it out"
            )


def raced(
    experiment: Experiment, text: str | None, sizes: Mapping[str, int], request: Request
) -> tuple[Experiment, SettlePlan | None]:
    """Return an experiment whose trials are evaluated for a first look alone, and its race; as it is without one.

    The race goes up to all validation examples that the data have, or to as many as the user has asked for.
    """
    if text is None:
        return experiment, None
    if not sizes.get("validation"):
        raise UserError("--settle needs a validation split to choose on, and these data have none; leave it out")
    check_settling(experiment.metric, experiment.evaluation)
    asked = experiment.evaluation.validation_examples
    most = asked if request.own_sizes or request.is_smoke else max(asked, sizes.get("validation", 0))
    race = settle_plan(experiment.metric, margin_of(text), experiment.evaluation, most, experiment.search is not None)
    return replace(experiment, evaluation=race.first), race


def settle_notes(race: SettlePlan | None, experiment: Experiment, planned: Iterable[PlannedTrial]) -> list[str]:
    """Say beforehand what a race can settle; nothing without one."""
    if race is None:
        return []
    names = {trial.name for trial in planned if not trial.is_baseline}
    return [beforehand(race, experiment.search.trials if experiment.search else len(names))]


def left_to_do(
    folder: SweepFolder, planned: Iterable[PlannedTrial], retry_failed: bool, race: SettlePlan | None
) -> list[TrialJob]:
    """Return the trials that are not finished or, when all are, what their race asks to be evaluated now."""
    left = jobs_left(folder, planned, retry_failed)
    return left if left or race is None else list(next_step(race, folder).jobs)
