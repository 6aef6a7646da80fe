"""A request with `--settle`: the race that it asks for in its data, and what of it is left to evaluate (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from search_spaces.experiment import Experiment
from sweep.request.overrides import Request
from sweep.request.trials import PlannedTrial, jobs_left
from sweep.settle.next_step import next_step
from sweep.settle.replicates import begin
from sweep.settle.sentences import beforehand
from sweep.settle.settle_plan import SettlePlan, check_settling, margin_of, settle_plan
from trainables.errors import UserError
from trainables.jobs import TrialJob
from trainables.records.record import SweepFolder


def check_settle_option(text: str | None, experiment: Experiment, most_seeds: int = 1) -> None:
    """Raise UserError for a `--settle` that cannot be, or for seeds that it is to choose, before anything is read."""
    if text is None and most_seeds > 1:
        raise UserError("--seeds auto adds replicates for those that --settle leaves: give --settle too, or --seeds 3")
    if most_seeds > 1 and "seed" in experiment.grid.axes:
        raise UserError("--seeds auto and the axis seed exclude each other: give one of them")
    if text is not None:
        margin_of(text)
        check_settling(experiment.metric, experiment.evaluation)
        objectives = experiment.search.objectives if experiment.search else ()
        if len(objectives) > 1:
            raise UserError(
                f"--settle looks for the best by one metric, got the objectives {', '.join(objectives)}; leave it out"
            )


def raced(
    experiment: Experiment, text: str | None, sizes: Mapping[str, int], request: Request, most_seeds: int = 1
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
    return replace(experiment, evaluation=race.first), replace(race, most_seeds=most_seeds)


def settle_notes(race: SettlePlan | None, experiment: Experiment, planned: Iterable[PlannedTrial]) -> list[str]:
    """Say beforehand what a race can settle; nothing without one."""
    if race is None:
        return []
    names = {trial.name for trial in planned if not trial.is_baseline}
    return [beforehand(race, experiment.search.trials if experiment.search else len(names))]


def left_to_do(
    folder: SweepFolder, planned: Iterable[PlannedTrial], retry_failed: bool, race: SettlePlan | None
) -> list[TrialJob]:
    """Return the trials that are not finished or, when all are, what their race asks to be run or evaluated now."""
    left = jobs_left(folder, planned, retry_failed)
    return left if left or race is None else list(next_step(race, folder).jobs)


def begin_replicates(
    folder: SweepFolder, planned: Iterable[PlannedTrial], retry_failed: bool, race: SettlePlan | None
) -> None:
    """Write the trials that a race adds next, where all that were planned are finished."""
    if race is not None and race.most_seeds > 1 and not jobs_left(folder, planned, retry_failed):
        begin(folder, next_step(race, folder).new)
