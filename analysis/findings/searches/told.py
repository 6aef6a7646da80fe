"""A search in words: what was tried, when the best was found, what matters, what more would bring, and its bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparison.comparison import Comparison
from analysis.findings.searches.bounds import AtBound
from analysis.findings.searches.draws import INDEPENDENT, ExpectedBest
from analysis.findings.searches.importance import FEWEST_CONFIGURATIONS, WARNING, Importance
from analysis.findings.searches.points import asked_of, is_search, points_of
from analysis.findings.searches.progress import SearchStep, is_side_by_side, last_gain
from analysis.findings.sentences import title_of, value_of
from analysis.format.cells import cell
from search_spaces.spreads import as_text
from trainables.records.trial_states import TrialState

FEWEST_FOR_DRAWS = 8  # finished points from which a quarter of them is told of
STATES: dict[str, str] = {
    TrialState.DONE: "finished",
    TrialState.STOPPED: "stopped early",
    TrialState.FAILED: "failed",
    TrialState.DIVERGED: "diverged",
    TrialState.OOM: "out of memory",
    TrialState.PENDING: "not done",
}


@dataclass(frozen=True)
class SearchFindings:
    """What a search allows one to say, from which its sentences are made."""

    importance: tuple[Importance, ...]
    expected_best: tuple[ExpectedBest, ...]
    progress: tuple[SearchStep, ...]
    bounds: tuple[AtBound, ...]


def search_sentences(found: Comparison, known: SearchFindings) -> list[str]:
    """Say what a search tried and found; nothing for a grid."""
    if not is_search(found) or not asked_of(found):
        return []
    said = [_tried(found), _when(found, known.progress), _importance(found, known.importance)]
    said += [_draws(found, known.expected_best), *(_bound(found, one) for one in known.bounds)]
    return [one for one in said if one]


def _tried(found: Comparison) -> str:
    rows = asked_of(found)
    counts = Counter(row.state for row in rows)
    listed = ", ".join(f"{counts[state]} {words}" for state, words in STATES.items() if counts[state])
    search = found.table.search
    if search is None:
        return f"The {len(rows)} configurations are no grid but points chosen one by one: {listed}."
    beside = len(found.table.of_kind("configuration")) - len(rows)
    said = f"The search tried {len(rows)} point{'s' * (len(rows) != 1)}: {listed}."
    if search.infeasible:
        said += f" {_points(len(search.infeasible))} predicted not to fit and cost nothing."
    if beside:
        said += f" {beside} more {'is no point' if beside == 1 else 'are no points'} of its space."
    return f"{said} {_sentence(search.reason)}" if search.reason else said


def _points(count: int) -> str:
    return f"{count} more {'was' if count == 1 else 'were'}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _when(found: Comparison, steps: Sequence[SearchStep]) -> str:
    gain = last_gain(steps)
    if gain is None or len(steps) < 2:
        return ""
    after = len(steps) - gain.trials
    since = f"; the {after} after it brought nothing better" if after > 1 else ""
    metric = f"{title_of(found.metric)} {value_of(found.metric, gain.score or 0.0)}"
    said = f"{metric} on {found.table.selection_split} was reached by"
    if is_side_by_side(found):
        return f"{said} {gain.name}; all {len(steps)} trials ran side by side, none after another."
    return f"{said} trial {gain.trials} of {len(steps)}{since}."


def _importance(found: Comparison, rows: Sequence[Importance]) -> str:
    if not rows:
        count = len(points_of(found))
        return f"Importance is stated from {FEWEST_CONFIGURATIONS} finished points upward, and there are {count}."
    listed = ", ".join(
        f"{one.axis.replace('_', ' ')} {100 * one.importance:.0f}% [{100 * one.low:.0f}, {100 * one.high:.0f}]"
        for one in rows
    )
    return f"What matters: {listed}. {WARNING}"


def _draws(found: Comparison, curve: Sequence[ExpectedBest]) -> str:
    if len(curve) < FEWEST_FOR_DRAWS:
        return ""
    some = curve[max(len(curve) // 4, 1) - 1]
    interval = ""
    if some.low is not None and some.high is not None:
        interval = f" [{value_of(found.metric, some.low)}, {value_of(found.metric, some.high)}]"
    best = value_of(found.metric, curve[-1].score)
    said = (
        f"{some.draws} points drawn from those tried would have reached {title_of(found.metric)} "
        f"{value_of(found.metric, some.score)}{interval} on average, all {curve[-1].draws} reached {best}."
    )
    return f"{said} {caution(found)}".strip()


def caution(found: Comparison) -> str:
    """Say why the expected best is no forecast; empty where the points were drawn independently."""
    search = found.table.search
    if search is not None and search.sampler in INDEPENDENT:
        return ""
    who = f"{search.sampler} chose" if search is not None else "if"
    points = "later points by earlier scores" if search is not None else "later points were chosen by earlier scores"
    return f"That is exact for independent draws alone: {who} {points}, so for few points it shows too much."


def _bound(found: Comparison, one: AtBound) -> str:
    assert found.best is not None
    end = "lower" if one.is_low else "upper"
    value = as_text(one.value) if not isinstance(one.value, float) else cell(one.value)
    return (
        f"{found.best.name} has {one.axis.replace('_', ' ')} {value}, at the {end} end of what was searched "
        f"({one.searched}): better ones may lie beyond; {one.wider} is wider."
    )
