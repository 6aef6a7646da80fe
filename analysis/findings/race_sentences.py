"""What a race showed, in words: whether the choice is settled, within what margin, and what that took."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.format.cells import points
from analysis.records.settled import SettledRace
from analysis.statistics.replicates import ReplicateRace
from trainables.metric_table import metric_of

ERROR = "with an error of 5% over all looks and configurations"
MOST_NAMES = 6


def race_sentences(settled: SettledRace | None) -> list[str]:
    """Return whether a race has settled the choice, by how many seeds, and what it spent; nothing without a race."""
    if settled is None or settled.race.best is None:
        return []
    seeds = [_seeds(settled.replicates, settled.race.margin or 0.0)] if settled.replicates is not None else []
    return [_verdict(settled), *seeds, _costs(settled)]


def _seeds(found: ReplicateRace, margin: float) -> str:
    others, within = sorted(found.at_most), f"{points(margin)} points"
    spread = (
        f"runs of one configuration differ with an SD of {points(found.run_sd)} points, the examples taken as they are"
    )
    if found.verdict == "separated":
        what = f"{found.best} is better than {_named(others)}"
    elif found.verdict == "equivalent":
        what = f"none of {_named(others)} is better than {found.best} by more than {within}"
    else:
        still = _named([name for name in others if found.at_most[name] > margin])
        what = f"{still} may still be better than {found.best} by more than {within}"
        what += ", and more seeds are to come" if found.verdict == "going" else ""
    return f"By up to {found.runs} seeds of each of those left {what}; {spread}."


def _verdict(settled: SettledRace) -> str:
    race = settled.race
    best, seen = race.best, race.looks[-1].examples
    metric, where = metric_of(settled.metric).title, f"on up to {seen} of {settled.most} validation examples"
    margin = f"{points(race.margin or 0.0)} points"
    if len(race.standings) == 1 and race.verdict != "going":
        return f"Nothing to settle: {best} is the only configuration that could be evaluated."
    if race.verdict == "going":
        names = _named([name for name in race.going if name != best])
        return f"The race is not over: {best} leads {where}, and {names} may be better; the same command goes on."
    if race.verdict == "separated":
        return f"Settled: {best} is better than every other configuration by {metric}, {where}, {ERROR}."
    if race.verdict == "equivalent":
        alike = [one.name for one in race.standings if one.state == "equivalent"]
        also = f"; {_named(alike)} {'is' if len(alike) == 1 else 'are'} as good within that" if alike else ""
        return f"Settled within {margin}: no other is better than {best} by more in {metric}, {where}, {ERROR}{also}."
    still = [one.name for one in race.standings if one.state == "open"]
    return (
        f"Not settled: all {settled.most} validation examples are used, and {_named(still)} may be better than {best} "
        f"by more than {margin}."
    )


def _costs(settled: SettledRace) -> str:
    share = settled.texts / settled.texts_of_all if settled.texts_of_all else 0.0
    left = [f"at {look.examples} {_named(look.left)}" for look in settled.race.looks if look.left]
    gone = f"; out of the race {', '.join(left)}" if left else ""
    return (
        f"The race wrote {settled.texts:,} texts, {share:.0%} of the {settled.texts_of_all:,} that all trials on all "
        f"examples would have{gone}."
    )


def _named(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMES:
        return f"{len(names)} configurations"
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])
