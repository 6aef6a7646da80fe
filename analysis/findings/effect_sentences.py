"""Effects and trends in words: which hold, or why none is stated."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.comparison.comparison import Comparison
from analysis.findings.effects import Effect, Trend, why_no_effects
from analysis.findings.sentences import title_of, value_of
from analysis.statistics.paired import SAME


def effect_sentences(found: Comparison, known: Sequence[Effect], along: Sequence[Trend]) -> list[str]:
    """Say which effects hold, or why none is stated."""
    if not known:
        why = why_no_effects(found)
        return [why] if why else []
    metric = title_of(found.metric)
    clear = sorted((one for one in known if one.is_clear), key=lambda one: -abs(one.effect))
    family = f"after Holm's correction for {len(known)} effects" if len(known) > 1 else "(one effect)"
    if all(abs(one.effect) <= SAME and one.high - one.low <= SAME for one in known):
        return [f"All configurations have the same {metric} on each of the {known[0].n} examples: there is no effect."]
    if not known[0].is_attainable:
        return [f"With {known[0].n} examples no effect on {metric} could have held {family}: none is stated."]
    lines = [text for one in along if (text := _trend_sentence(found, one))]
    if not clear:
        return [f"No effect on {metric} holds {family}.", *lines]
    listed = [
        f"{one.term.replace('_', ' ')} ({one.change}) {value_of(found.metric, one.effect, True)} "
        f"[{value_of(found.metric, one.low, True)}, {value_of(found.metric, one.high, True)}]"
        for one in clear[:5]
    ]
    rest = f"; and {len(clear) - 5} more" if len(clear) > 5 else ""
    return [f"Effects on {metric} that hold {family}: {'; '.join(listed)}{rest}.", *lines]


def _trend_sentence(found: Comparison, one: Trend) -> str:
    """Say what the line along an axis of three values or more is; nothing for fewer."""
    if len(one.levels) < 3:
        return ""
    per = "doubling" if one.is_log else "unit"
    low, high = (value_of(found.metric, value, True) for value in (one.low, one.high))
    shape = "" if one.is_monotone else ", though not steadily"
    return (
        f"Per {per} of {one.axis.replace('_', ' ')} {title_of(found.metric)} changes by "
        f"{value_of(found.metric, one.slope, True)} [{low}, {high}]{shape}."
    )


def caution(known: Sequence[Effect]) -> str | None:
    """Say what the intervals of effects leave out; None where runs were repeated."""
    if not known or known[0].p_runs is not None:
        return None
    return "Effects are per example, with one run per cell: what another seed would change is not estimated."
