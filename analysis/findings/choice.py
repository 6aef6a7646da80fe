"""The choice in words: what the winner is worth, how stable the choice is, what else would do, and a note per row."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.comparison.comparison import Comparison
from analysis.findings.baselines import STAR, BaselineTest
from analysis.findings.sentences import title_of, unit_after, value_of
from analysis.findings.winner import AgainstBest, Agreement, ConfigurationCost, Winner, metric_winners
from analysis.format.cells import cell
from analysis.statistics.paired import FEWEST_EXAMPLES
from trainables.metric_table import LOWER_IS_BETTER
from trainables.records.trial_states import TrialState

OFTEN_CUT = 0.1  # share of texts that end at the limit, or are empty, from which a note says so
STATES: dict[str, str] = {TrialState.PENDING: "not done", TrialState.OOM: "out of memory"}


def sentences(found: Comparison, won: Winner | None, agreement: Sequence[Agreement] = ()) -> list[str]:
    """Say what the choice is worth, how often it would be made again, what is cheaper, and where metrics disagree."""
    if won is None:
        return []
    said = [_worth(won)]
    if found.table.search is not None and won.has_interval and len(won.frequencies) > 1:
        said.append(f"That allows for a choice among {len(won.frequencies)} points, all that have a score.")
    if won.is_weighed:
        said.append(_stability(won))
        said.append(_cheaper(won))
    return said + _disagreement(found, agreement)


def _worth(won: Winner) -> str:
    metric, unit = title_of(won.metric), unit_after(won.metric)
    interval = f"[{value_of(won.metric, won.low)}, {value_of(won.metric, won.high)}]"
    if won.n < 2:
        score = value_of(won.metric, won.raw if won.is_same_set else won.estimate)
        return f"{won.name} has {metric} {score} on one {won.split} example: nothing can be said of others."
    score, raw = f"{value_of(won.metric, won.estimate)} {interval}", value_of(won.metric, won.raw)
    optimism = f"{value_of(won.metric, won.optimism)}{unit}"
    if not won.has_interval:
        score = value_of(won.metric, won.raw if won.is_same_set else won.estimate)
        why = "too few to say what it is worth" if won.n < FEWEST_EXAMPLES else "the same on each"
        return f"{won.name} has {metric} {score} on {won.n} {won.split} examples, {why}."
    if len(won.frequencies) == 1:
        return f"{won.name}, the only candidate, has {metric} {score} on {won.n} {won.split} examples."
    if won.is_same_set:
        return (
            f"{won.name} is worth {metric} {score} on new examples, by the bias-corrected bootstrap; its {raw} on the "
            f"{won.n} {won.split} examples that chose it is optimistic by about {optimism}."
        )
    if math.isnan(won.corrected):
        return f"{won.name} is worth {metric} {score} by the {won.n} {won.split} examples; one example chose it."
    return (
        f"{won.name} is worth {metric} {score} by the {won.n} {won.split} examples, which played no part in the "
        f"choice; its {raw} on the {won.n_selection} {won.selection_split} examples is optimistic by about {optimism} "
        "for having been chosen there."
    )


def _stability(won: Winner) -> str:
    shares = {row.name: row.share for row in won.frequencies}
    known = [row for row in won.frequencies if row.name != won.name and row.share > 0][:2]
    listed = [_percent(shares[won.name]), " and ".join(f"{row.name} in {_percent(row.share)}" for row in known)]
    return (
        f"Over resamples of the {won.n_selection} {won.selection_split} examples {won.name} is best in "
        f"{', '.join(filter(None, listed))}."
    )


def _cheaper(won: Winner) -> str:
    cheapest = won.affordable[0]
    if cheapest.name == won.name:
        return f"No cheaper configuration is within one standard error of {won.name}."
    return (
        f"Where cost counts keep {cheapest.name} ({_costs(cheapest)}): it is the cheapest within one standard error of "
        f"{won.name} (paired, {value_of(won.metric, cheapest.difference, True)} ± "
        f"{value_of(won.metric, cheapest.standard_error)} on {won.selection_split})."
    )


def _costs(cheapest: ConfigurationCost) -> str:
    parts = [f"rank {cheapest.lora_rank}"]
    if cheapest.peak_memory_bytes:
        parts.append(cell(cheapest.peak_memory_bytes, "bytes"))
    if cheapest.wall_s:
        parts.append(cell(cheapest.wall_s, "duration"))
    return ", ".join(parts)


def _disagreement(found: Comparison, agreement: Sequence[Agreement]) -> list[str]:
    """Say which metrics would choose another configuration, with the rank correlation to the deciding one."""
    own = [one for one in agreement if one.first == found.metric and one.first_winner != one.second_winner]
    if not own:
        return []
    listed = [f"{title_of(one.second)} {one.second_winner} ({_alike(one.spearman)})" for one in own]
    return [f"The winner changes with the metric: {title_of(found.metric)} {own[0].first_winner}, {', '.join(listed)}."]


def _alike(spearman: float) -> str:
    return f"rank correlation {'not defined' if math.isnan(spearman) else f'{spearman:+.2f}'}"


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


# --- notes -----------------------------------------------------------------------------------------------------------


def notes(
    found: Comparison, tests: Sequence[BaselineTest], won: Winner | None, others: Sequence[AgainstBest] = ()
) -> dict[str, list[str]]:
    """Return short notes on each configuration by name, what matters most first; none where there is nothing to say."""
    said: dict[str, list[str]] = {row.name: [] for row in found.table.of_kind("configuration")}
    if won is not None:
        _place_notes(won, others, said)
    for one in tests:
        if one.metric == found.metric and one.name in said:
            said[one.name] += _baseline_notes(one)
    firsts = metric_winners(found) if len(found.ranking) > 1 else {}
    for name in said:
        metrics = [title_of(metric) for metric, first in firsts.items() if first == name and metric != found.metric]
        if metrics:  # on the split of the choice: the scores beside it are those of the reported one
            said[name].append(f"best {', '.join(metrics)} on {found.table.selection_split}")
    for row in found.table.of_kind("configuration"):
        said[row.name] += [note for note in _row_notes(found, row.values, row.state) if note not in said[row.name]]
    return said


def _place_notes(won: Winner, others: Sequence[AgainstBest], said: dict[str, list[str]]) -> None:
    said[won.name].append(f"best on {won.selection_split} (optimistic there)")
    if won.runner_up:
        said[won.runner_up].append("runner-up")
    if won.is_weighed and won.cheapest and won.cheapest.name != won.name:
        said[won.cheapest.name].append(f"cheapest within one standard error of {won.name}")
    for one in others:
        is_ahead = (one.difference > 0) == (won.metric in LOWER_IS_BETTER)
        if not one.is_separable:
            said[one.name].append(f"not told apart from {won.name}")
        elif is_ahead:
            said[one.name].append(f"better than {won.name} on {won.split}")


def _baseline_notes(one: BaselineTest) -> list[str]:
    if one.verdict == "better":
        return []
    meaning = {
        "worse": "worse than zero-shot",
        "same": "scores the same as zero-shot",
        "too few": "too few examples for a verdict",
        "equivalent": "equivalent to zero-shot",
        "cannot tell": "not told apart from zero-shot",
    }
    if one.star_attainable or one.verdict == "same":
        return [meaning[one.verdict]]
    return [f"no {STAR} attainable with {one.n} examples"]


def _row_notes(found: Comparison, values: dict, state: str) -> list[str]:
    said = []
    lead = next((row.values.get(found.metric) for row in found.table.rows if row.name == "LEAD-3"), None)
    own = values.get(found.metric)
    if lead is not None and own is not None and own < lead:
        said.append("below LEAD-3")
    for key, meaning in (("limit_rate", "cut off at the limit"), ("empty_rate", "empty")):
        share = values.get(key)
        if share is not None and share >= OFTEN_CUT:
            said.append(f"{_percent(share)} of its texts {meaning}")
    if state not in (TrialState.DONE, ""):
        said.append(STATES.get(state, state))
    return said
