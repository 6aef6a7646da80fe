"""What there is to say of a race, while it runs and beforehand (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweep.settle.replicates import NewReplicate
from sweep.settle.settle_plan import SettlePlan

if TYPE_CHECKING:
    from analysis.statistics.racing import Look

MOST_NAMES = 8


def beforehand(plan: SettlePlan, configurations: int) -> str:
    """Say what the validation examples that there are can settle, before anything has been scored."""
    from analysis.statistics.race_rules import SIMILAR_SD, settles_from

    most = plan.whole.validation_examples
    if configurations < 2:
        return "--settle: there is one configuration, so there is no choice to settle"
    low, high = (settles_from(most, sd, configurations, start=plan.first.validation_examples) for sd in SIMILAR_SD)
    asked = "" if plan.margin is None or plan.margin >= high else f", and {_points(plan.margin)} may stay open"
    spreads = f"{100 * SIMILAR_SD[0]:.0f} to {100 * SIMILAR_SD[1]:.0f} ROUGE-L points"
    return (
        f"--settle: {most} validation examples settle a choice of {configurations} configurations within "
        f"{_points(low, unit=False)} to {_points(high)}, where their scores differ from example to example as those of "
        f"similar ones usually do (SD of {spreads}){asked}; larger differences show earlier"
    )


def _points(score: float, unit: bool = True) -> str:
    value = 100 * score
    return f"{value:.2g}" + (f" point{'s' * (value != 1)}" if unit else "")


def look_sentences(looks: Sequence[Look]) -> list[str]:
    """Return a sentence for each look: who leads, and who leaves or comes back."""
    return [_sentence(look) for look in looks]


def replicate_sentence(new: Sequence[NewReplicate]) -> str:
    """Say which configurations are run with further seeds."""
    seeds = sorted({one.trial.train.seed for one in new})
    names = list(dict.fromkeys(one.name for one in new))
    return f"{_listed(names)} {'is' if len(names) == 1 else 'are'} run again with seed {_listed(list(map(str, seeds)))}"


def is_going(settle: Mapping[str, Any] | None) -> bool:
    """Tell whether the race of a sweep, as sweep.json has it, is not over."""
    return bool(settle) and not (settle or {}).get("is_over")


def race_line(settle: Mapping[str, Any] | None) -> str | None:
    """Return how a race stands, as sweep.json has it, in one line; None for a sweep without one."""
    if not settle:
        return None
    race, most = settle.get("race"), settle["whole"]["validation_examples"]
    if not race or not race["looks"]:
        return f"race: no look yet of up to {most} examples"
    seen, verdict = race["looks"][-1]["examples"], race["verdict"]
    still = f", {len(race['going'])} configurations go on" if verdict == "going" else ""
    over = "" if settle.get("is_over") or still else ", to be reported on"
    return f"race: {verdict} after {seen} of {most} examples, {race['best']} leads{still}{over}"


def _sentence(look: Look) -> str:
    parts = [f"look at {look.examples} examples of {len(look.scored)} configurations: {look.best} leads"]
    parts += [f"{_listed(look.left)} leave{'s' if len(look.left) == 1 else ''}"] if look.left else []
    parts += [f"{_listed(look.back)} come{'s' if len(look.back) == 1 else ''} back"] if look.back else []
    return ", ".join(parts)


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:MOST_NAMES])
    return ", ".join(shown) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
