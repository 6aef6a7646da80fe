"""What tests against baselines amount to in words: how many hold, what no star means, what the examples can show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.comparison.comparison import Comparison
from analysis.findings.baselines import STAR, BaselineTest
from analysis.findings.sentences import rounded, unit_after, value_of
from analysis.statistics.multiple_testing import ALPHA, CORRECTIONS, holm
from analysis.statistics.paired import examples_needed
from trainables.metric_table import LOSS

TWO_POINTS = 0.02  # the gain for which the number of examples is stated; for a loss 0.02


def baseline_sentences(found: Comparison, tests: Sequence[BaselineTest]) -> list[str]:
    """Say how many configurations beat their baseline by the deciding metric, and what no star means."""
    own = [one for one in tests if one.metric == found.metric]
    if not own:
        return []
    said = []
    n, count = min(one.n for one in own), len(own)
    name = CORRECTIONS[found.correction] + ("'s" if found.correction == "holm" else "")
    family = f"after {name} correction for {count} comparisons ({STAR})" if count > 1 else f"at 5% ({STAR})"
    same = [one.name for one in own if one.verdict == "same"]
    if same:
        verb = "scores" if len(same) == 1 else "score"
        said.append(
            f"{', '.join(same)} {verb} the same as the untrained model with the same prompt on all {n} examples."
        )
    if len(same) == count:
        return said
    if not own[0].star_attainable:
        least = min(one.attainable for one in own)
        times = f", times {count}" if found.correction == "holm" else ""
        said.append(
            f"With {n} examples and {count} configurations no difference from a baseline could have been significant "
            f"(smallest p attainable {least:.3g}{times}): the absence of {STAR} means nothing here."
        )
    else:
        better = [one.name for one in own if one.verdict == "better"]
        worse = [one.name for one in own if one.verdict == "worse"]
        if better or not worse:
            said.append(f"{_share(better, count)} better than the untrained model with the same prompt {family}.")
        if worse:
            said.append(f"{_share(worse, count)} worse than the untrained model with the same prompt {family}.")
    if text := _runs_sentence(own):
        said.append(text)
    varied = [one for one in own if one.has_interval]
    if varied and not all(one.has_star for one in own):
        said.append(_power(found.metric, own, varied))
    equal = [one.name for one in own if one.verdict == "equivalent"]
    if equal:
        points = 100 * found.margin
        size = f"{found.margin:g}" if found.metric == LOSS else f"{points:g} point{'s' * (points != 1)}"
        said.append(f"Equivalent to the untrained model within {size} (two one-sided tests): {', '.join(equal)}.")
    return said


def examples_for(tests: Sequence[BaselineTest], difference: float, comparisons: int | None = None) -> int | None:
    """Return how many examples would show a true `difference` of any of these configurations with 80% power.

    At the level that the first step of Holm asks (max-T and Benjamini-Hochberg ask no stricter one), by the largest SD,
    each at its upper limit; None beyond ten million.
    `comparisons` is the size of the family where these are but a part of it.
    """
    level = 1 - ALPHA / (comparisons or len(tests))
    needed = [examples_needed(one.sd, difference, confidence=level, seen=one.n) for one in tests if one.n > 1]
    return max((one for one in needed if one is not None), default=None) if None not in needed else None


def _runs_sentence(own: Sequence[BaselineTest]) -> str:
    """Say how many differences hold with each run as one observation; nothing without replicates."""
    repeated = [one for one in own if one.p_runs is not None]
    if not repeated:
        return ""
    corrected = holm([math.nan if one.p_runs is None else one.p_runs for one in repeated])
    held = int((corrected < ALPHA).sum())
    return (
        f"By the runs alone, each one observation, {held} of {len(repeated)} differences from a baseline hold "
        "(t over runs, after Holm): these are what another seed would be likely to repeat."
    )


def _power(metric: str, own: Sequence[BaselineTest], varied: Sequence[BaselineTest]) -> str:
    """Say which differences so many examples show, where they can show any, and how many show one of two points."""
    unit, asked = unit_after(metric), TWO_POINTS
    detectable = max(one.detectable for one in varied)
    needed = examples_for(varied, asked, len(own))
    count = "more than ten million" if needed is None else f"about {rounded(needed)}"
    power, size = f"(80% power at {_level(own)})", f"{value_of(metric, asked)}{unit}"
    if not own[0].star_attainable:
        return f"A difference of {size} from a baseline would need {count} examples {power}."
    return (
        f"{min(one.n for one in own)} examples show differences from {value_of(metric, detectable)}{unit} upward "
        f"from a baseline {power}; one of {size} needs {count}."
    )


def _level(own: Sequence[BaselineTest]) -> str:
    """Name the level that power is computed at: the strictest that the correction in use ever asks."""
    if len(own) == 1:
        return "5%"
    level, correction = f"5% / {len(own)}", own[0].correction
    return (
        f"{level}, Holm's first step" if correction == "holm" else f"{level}; {CORRECTIONS[correction]} needs no more"
    )


def _share(names: list[str], count: int) -> str:
    if len(names) == count:
        every = {1: "The one configuration is", 2: "Both configurations are"}
        return every.get(count, f"All {count} configurations are")
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""
    if count == 1:
        return "The one configuration is not"
    verb = "is" if len(names) < 2 else "are"
    return f"{len(names) or 'None'} of {count} configurations{listed} {verb}"
