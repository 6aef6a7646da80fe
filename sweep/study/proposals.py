"""What to try next, as a pure function of what has been tried.

For every ask a study in memory is built from the trials so far and a fresh sampler is asked once. So a search that was
killed goes on as if it had not been: it depends on its records, not on the state of a sampler. CMA-ES and NSGA-II do
have a state, generations: the trials so far are asked for again, one after the other, which gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.objectives import Objective
from search_spaces.points import Parameters, Search
from sweep.study.samplers import distribution_of, sampler_of, seed_of, suggest, told_parameters
from sweep.study.study_trial import UNFINISHED, PointState, StudyTrial

if TYPE_CHECKING:
    import optuna

IN_GENERATIONS = ("cmaes", "nsga2")
FITS = "fits"  # name of the constraint


def propose(
    space: Search,
    chosen: str,
    objectives: Sequence[Objective],
    told: Sequence[StudyTrial],
    attempt: int = 0,
    fixed: Mapping[str, Any] | None = None,
) -> Parameters:
    """Return the next point of a search after the trials in `told`, with the values in `fixed` where there are any.

    Another `attempt` gives another point.
    """
    study = scratch_study(space, chosen, objectives, told)
    study.sampler = sampler_of(chosen, space.trials, seed_of(space.seed, len(told), attempt))
    if fixed:
        study.enqueue_trial(told_parameters(space, fixed))
    return suggest(study.ask(), space)


def scratch_study(
    space: Search, chosen: str, objectives: Sequence[Objective], told: Sequence[StudyTrial]
) -> optuna.Study:
    """Return a study in memory of the trials that a sampler learns from: finished ones first, then those running."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = sampler_of(chosen, space.trials, space.seed)
    study = optuna.create_study(directions=[one.direction for one in objectives], sampler=sampler)
    if chosen == "random":
        return study
    distributions = {axis.name: distribution_of(axis) for axis in space.axes}
    worst = _worst(objectives, told) if any(one.state is PointState.INFEASIBLE for one in told) else ()
    for trial in told:
        if trial.state in UNFINISHED or trial.state is PointState.FAIL:
            continue
        if chosen in IN_GENERATIONS:
            _ask_again(study, space, trial, worst)
        else:
            study.add_trial(_frozen(space, distributions, trial, objectives, worst))
    running = [trial for trial in told if trial.state in UNFINISHED]
    study.add_trials([_frozen(space, distributions, trial, objectives, worst) for trial in running])
    return study


def _worst(objectives: Sequence[Objective], told: Sequence[StudyTrial]) -> tuple[float, ...]:
    """Return a value that is worse than none so far: what a point that cannot be run counts as."""
    done = [trial.values for trial in told if trial.state is PointState.COMPLETE]
    if not done:
        return (0.0,) * len(objectives)
    columns = zip(*done, strict=True)
    return tuple(max(one) if each.is_small else min(one) for one, each in zip(columns, objectives, strict=True))


def _frozen(
    space: Search,
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    trial: StudyTrial,
    objectives: Sequence[Objective],
    worst: tuple[float, ...],  # empty where all points fit
) -> optuna.trial.FrozenTrial:
    import optuna

    states = optuna.trial.TrialState
    parameters = told_parameters(space, trial.parameters)
    state, values, curve = states.RUNNING, None, {}
    if trial.state is PointState.COMPLETE:
        state, values = states.COMPLETE, trial.values
    elif trial.state is PointState.INFEASIBLE:
        state, values = states.COMPLETE, worst
    elif trial.state is PointState.PRUNED:
        # With several objectives Optuna takes no curve, and ranks what was pruned behind all else.
        state, curve = states.PRUNED, intermediate_values(trial, objectives)
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=parameters,
        distributions={name: distributions[name] for name in parameters},
        intermediate_values=curve if len(objectives) == 1 else {},
        system_attrs=constraint_of(trial) if worst else {},
    )


def intermediate_values(trial: StudyTrial, objectives: Sequence[Objective]) -> dict[int, float]:
    """Return the losses of a trial in the direction of its objective: negated where that is to be large."""
    sign = 1.0 if objectives[0].is_small else -1.0
    return {step: sign * loss for step, loss in trial.curve}


def constraint_of(trial: StudyTrial) -> dict[str, float]:
    """Return the constraint of a trial as `Trial.set_constraint` keeps it: above zero where it does not fit."""
    return {f"constraints:{FITS}": 1.0 if trial.state is PointState.INFEASIBLE else -1.0}


def _ask_again(study: optuna.Study, space: Search, trial: StudyTrial, worst: tuple[float, ...]) -> None:
    import optuna

    study.enqueue_trial(told_parameters(space, trial.parameters))
    asked = study.ask()
    _ = (
        asked.relative_params
    )  # asks the sampler, which Optuna 5 does not where all values are given: no generation then
    suggest(asked, space)
    if trial.state is PointState.PRUNED:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        return
    is_infeasible = trial.state is PointState.INFEASIBLE
    if worst and isinstance(study.sampler, optuna.samplers.NSGAIISampler):  # CMA-ES only warns that it takes none
        asked.set_constraint(FITS, 1.0 if is_infeasible else -1.0)
    study.tell(asked, worst if is_infeasible else trial.values)
