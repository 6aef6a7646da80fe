"""The answer in two sentences: what to keep and what it gains, and how far the examples allow one to say so."""

from __future__ import annotations

from analysis.comparison.comparison import Comparison, Difference
from analysis.findings.findings import Findings
from analysis.findings.pareto_sentences import pareto_sentence, pareto_sentences
from analysis.findings.sentences import (
    describe,
    headline,
    interval_of,
    title_of,
    unit_after,
    value_of,
    verdict,
)
from analysis.records.pbt_changes import aside


def answer(findings: Findings) -> list[str]:
    """Return two sentences; one where nothing has finished."""
    found = findings.comparison
    best = found.best
    if best is None or found.hidden:
        return [headline(found)]
    if found.front and found.table.search:
        return [pareto_sentence(found), *pareto_sentences(found)[: len(found.table.search.objectives)]]
    roles = {one.role: one for one in found.differences}
    return [_keep(findings, roles.get("baseline")), _how_sure(found, roles.get("runner-up"))]


def _keep(findings: Findings, baseline: Difference | None) -> str:
    found = findings.comparison
    best, table = found.best, found.table
    assert best is not None
    won = findings.winner
    name = f"{best.name} ({describe(best, table)}{aside(best.rows)})"
    metric = title_of(found.metric)
    size = table.evaluation.examples[table.split]
    examples = f"{size} {table.split} example{'s' * (size != 1)}"
    if won is None:
        return headline(found)
    worth = f"{metric} {value_of(found.metric, won.estimate)}"
    if won.has_interval:
        worth += f" [{value_of(found.metric, won.low)}, {value_of(found.metric, won.high)}]"
    where = f"{worth} on {examples}"
    if won.is_same_set and won.has_interval:
        where = f"{worth} on new examples (corrected for choosing on the same {size})"
    if baseline is None:
        return f"Keep {name}: {where}, with no finished baseline to compare it with."
    gain = value_of(found.metric, abs(baseline.paired.mean))
    unit = unit_after(found.metric)
    interval = _interval(baseline)
    if baseline.verdict == "better" and won.is_same_set and won.optimism > 0:
        much = f"optimistic by about {value_of(found.metric, won.optimism)}{unit}"
        return (
            f"Keep {name}: {where}; on these {size} it is {gain}{unit} better than the untrained model with the same "
            f"prompt{interval}, {much} for having been chosen there."
        )
    if baseline.verdict == "better":
        return f"Keep {name}: {where}, {gain}{unit} better than the untrained model with the same prompt{interval}."
    if baseline.verdict == "worse":
        return f"Keep none: the best, {name}, is {gain}{unit} worse than the untrained model{interval}, with {where}."
    if baseline.verdict == "too few":
        return f"Too few examples to say whether anything helps: the best, {name}, has {where}."
    if baseline.verdict == "same":
        return f"Nothing here is shown to help: the best, {name}, has {where}, as the untrained model on each of them."
    return (
        f"Nothing here is shown to help: the best, {name}, has {where} and cannot be told apart from the untrained "
        f"model with the same prompt{interval}."
    )


def _how_sure(found: Comparison, runner_up: Difference | None) -> str:
    best = found.best
    assert best is not None
    if runner_up is None:
        return f"There is no second finished configuration to tell {best.name} from."
    if said := verdict(found, runner_up):
        return said
    where = f"on {runner_up.paired.n} {runner_up.split} examples"
    return f"It is better than the runner-up {runner_up.against} {where}{_interval(runner_up)}."


def _interval(difference: Difference) -> str:
    return f" {interval_of(difference)}" if difference.paired.has_interval else ""
