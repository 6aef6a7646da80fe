"""What the comparison says in words: one plain sentence for each thing that a reader must know."""

from __future__ import annotations

import math

from analysis.comparison.candidates import Candidate
from analysis.comparison.comparison import Comparison, Difference
from analysis.findings.pareto_sentences import pareto_sentence, pareto_sentences
from analysis.findings.race_sentences import race_sentences
from analysis.format.cells import NOTHING, cell, points
from analysis.format.lists import listed
from analysis.records import deciding_metric, older_trials
from analysis.records.pbt_changes import aside, changed
from analysis.records.table import ResultTable
from trainables.metric_table import LOSS, metric_of
from trainables.records.trial_states import TrialState

MOST_TOLD = 8  # trials that failed, diverged, ... whose causes are told one by one
FEW_TO_CHOOSE = 10  # examples below which a choice is said to mean little


def title_of(metric: str) -> str:
    """Return the name of a metric for people: 'ROUGE-L', 'unstemmed ROUGE-L', 'evaluation loss'."""
    return metric_of(metric).title


def unit_after(metric: str) -> str:
    """Return what stands behind a value of a metric: ' points', or nothing behind a loss."""
    one = metric_of(metric)
    return f" {one.unit}" if one.kind == "text" else ""


def value_of(metric: str, value: float, sign: bool = False) -> str:
    """Write a score as points, a loss as it is; a dash for what is no number."""
    if math.isnan(value):
        return NOTHING
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞"
    if metric_of(metric).kind == "loss":
        return f"{value:+.3f}" if sign else f"{value:.3f}"
    return points(value, sign)


def interval_of(difference: Difference) -> str:
    """Write an interval: '[-0.80, +1.42]'; a dash where there are too few examples, or none differ."""
    if not difference.paired.has_interval:
        return NOTHING
    low, high = difference.paired.low, difference.paired.high
    return f"[{value_of(difference.metric, low, True)}, {value_of(difference.metric, high, True)}]"


def describe(candidate: Candidate, table: ResultTable) -> str:
    """Say what a configuration changes: 'prompt v2, rank 16, rate 0.0005'."""
    train = candidate.row.train
    names = [name for name in table.axes if name != "seed"]
    titles = {"lora_rank": "rank", "learning_rate": "rate"}
    return ", ".join(f"{titles.get(name, name.replace('_', ' '))} {cell(getattr(train, name))}" for name in names)


def headline(found: Comparison) -> str:
    """Name the best configuration, or say why there is none."""
    table, best = found.table, found.best
    if found.hidden:
        return not_settled(found)
    if best is None:
        return f"No configuration has finished under evaluation {table.eval_id} yet: there is nothing to choose from."
    if found.front:
        return pareto_sentence(found)
    size = table.evaluation.examples[table.selection_split]
    score = f"{title_of(found.metric)} {value_of(found.metric, best.selection)}"
    seeds = f", mean of {len(best.rows)} seeds" if len(best.rows) > 1 else ""
    where = f"{size} {table.selection_split} examples{seeds}"
    return f"Best: {best.name} ({describe(best, table)}{aside(best.rows)}), chosen by {score} on {where}."


def not_settled(found: Comparison) -> str:
    """Say which configurations damage keeps from being read: each may be better than the best of the others."""
    names = listed([found.table.name_of(row) for row in found.hidden])
    read = f"; of what can be read {found.best.name} is the best" if found.best else ""
    why = "; ".join(f"{found.table.name_of(row)}: {row.damage}" for row in found.hidden)
    return f"No best can be named: {names} may be better{read} ({why}). Run the sweep again to mend it."


def conclusions(found: Comparison) -> list[str]:
    """Return all sentences, the best configuration first, then how sure that is, then what is missing."""
    table = found.table
    said = [headline(found), *race_sentences(table.race)]
    if found.front:
        said += pareto_sentences(found)
    elif found.best:
        said += _about_choice(found)
        said += [text for difference in found.differences if (text := verdict(found, difference))]
        said += _too_few(found)
        said += _missing_differences(found)
        said += _cautions(found)
    if len(table.signatures) > 1:
        said.append(
            "The rows were scored in different ways (see the signatures) and cannot be compared; evaluate them again."
        )
    said += unfinished(table)
    said += damaged(found)
    said += changed(table)
    said += older_trials.sentences(table)
    return said


def damaged(found: Comparison) -> list[str]:
    """Say which files of other trials than the hidden ones are damaged."""
    rows = [row for row in found.table.rows if row.damage and row not in found.hidden]
    return [f"{found.table.name_of(row)}: {row.damage}." for row in rows]


def verdict(found: Comparison, difference: Difference) -> str:
    """Say what a difference shows, and for the runner-up how many examples would tell the two apart."""
    best = found.best
    assert best is not None
    metric = title_of(difference.metric)
    if difference.verdict == "better" or (difference.verdict == "too few" and difference.role != "runner-up"):
        return ""  # the table of differences shows it; `_too_few` says it of all
    if difference.role == "runner-up":
        return _runner_up(best.name, difference)
    other = {
        "baseline": f"the untrained model with the same prompt ({difference.against})",
        "constant": "one constant summary for every input",
        "shuffled": "its own texts given to other examples",
    }[difference.role]
    if difference.verdict == "same":
        return f"{best.name} scores the same as {other} by {metric} on {_every(difference)}."
    meaning = {"constant": ": it may ignore its input", "shuffled": ": its texts do not depend on the input enough"}
    state = "is worse than" if difference.verdict == "worse" else "cannot be told apart from"
    return f"{best.name} {state} {other} by {metric}{meaning.get(difference.role, '')}."


def _runner_up(best: str, difference: Difference) -> str:
    metric, other, split = difference.metric, difference.against, difference.split
    if difference.verdict == "same":
        return f"{best} and {other}, the runner-up, score the same by {title_of(metric)} on {_every(difference)}."
    if difference.verdict == "too few":
        n, examples = difference.paired.n, "example is" if difference.paired.n == 1 else "examples are"
        if n >= difference.fewest:
            return f"Too few {split} examples differ to tell {best} and {other}, the runner-up, apart."
        return f"{n} {split} {examples} too few to tell {best} and {other}, the runner-up, apart."
    if difference.verdict == "worse":
        return f"On {split} the runner-up {other} is better than {best}: the choice did not hold."
    unit = unit_after(metric)
    needed = "more than ten million" if difference.needed is None else f"about {rounded(difference.needed)}"
    detectable = f"{value_of(metric, difference.detectable)}{unit}"
    return (
        f"The {split} set is too small to tell {best} and {other}, the runner-up, apart: {difference.paired.n} "
        f"examples show a difference in {title_of(metric)} from {detectable} upward (80% power); "
        f"one of {value_of(metric, abs(difference.paired.mean))} would need {needed}."
    )


def _every(difference: Difference) -> str:
    n = difference.paired.n
    return f"all {n} {difference.split} examples" if n > 1 else f"the one {difference.split} example"


def tie(found: Comparison) -> str:
    """Say that the choice was a tie and how it was broken; empty where it was none."""
    if found.best is None or not found.tied:
        return ""
    names = listed([one.name for one in found.tied])
    verb = "scores" if len(found.tied) == 1 else "score"
    return (
        f"The choice was a tie: {names} {verb} the same on {found.table.selection_split}; {found.best.name} is taken "
        "as the first in the order of the sweep."
    )


def _about_choice(found: Comparison) -> list[str]:
    """Say where ROUGE could not choose, where the choice was a tie, and where few examples made it mean little."""
    table = found.table
    size = table.evaluation.examples[table.selection_split]
    said = [text for text in (deciding_metric.sentence(table, found.examples, found.metric), tie(found)) if text]
    if size < FEW_TO_CHOOSE and len(found.ranking) > 1:
        examples = "example" if size == 1 else "examples"
        said.append(
            f"The choice was made on {size} {table.selection_split} {examples}: on fewer than {FEW_TO_CHOOSE} it means "
            "little."
        )
    return said


def _too_few(found: Comparison) -> list[str]:
    """Say once that the examples are too few for verdicts, and how many it takes."""
    few = [one for one in found.differences if one.verdict == "too few"]
    if not few:
        return []
    one = min(few, key=lambda one: one.differing)
    family = f"after correction for {len(found.ranking)} configurations" if len(found.ranking) > 1 else "at 5%"
    n, examples = one.paired.n, "example is" if one.paired.n == 1 else "examples are"
    short = f"{n} {one.split} {examples} too few for a verdict"
    if n >= one.fewest:
        short = (
            f"Only {one.differing} of {n} {one.split} examples differ between {found.ranking[0].name} and {one.against}"
        )
    return [f"{short}: it takes {one.fewest} that differ for a difference to be significant {family}."]


def unfinished(table: ResultTable) -> list[str]:
    """Say which rows have no result, and why; the choice may change with those that are pending."""
    pending = [
        row
        for row in table.rows
        if row.state == TrialState.PENDING
        or (row.state == TrialState.DONE and row.summary is None and row.partial is None)
    ]
    said = []
    if pending:
        names = listed([table.name_of(row) for row in pending])
        verb = "is" if len(pending) == 1 else "are"
        said.append(f"{names} {verb} not done under evaluation {table.eval_id}: the choice may change.")
    if stopped := [table.name_of(row) for row in table.rows if row.state == TrialState.STOPPED and row.partial is None]:
        was, it = ("was", "is compared as it was") if len(stopped) == 1 else ("were", "are compared as they were")
        said.append(f"{listed(stopped)} {was} stopped early by the scheduler and {it} then.")
    for state, meaning in (
        (TrialState.FAILED, "failed"),
        (TrialState.DIVERGED, "diverged"),
        (TrialState.OOM, "did not fit in memory"),
    ):
        rows = [row for row in table.rows if row.state == state and row.partial is None]
        for row in rows[:MOST_TOLD]:
            cause = f": {row.cause}" if row.cause else ""
            ending = "" if cause.endswith((".", "!", "?")) else "."
            said.append(f"{table.name_of(row)} {meaning}{cause}{ending}")
        if others := rows[MOST_TOLD:]:
            said.append(f"{len(others)} more ended in the same way: {listed([table.name_of(row) for row in others])}.")
    said += [f"{row.label} is taken as pending: {row.cause}." for row in pending if row.train is None]
    return said


def _missing_differences(found: Comparison) -> list[str]:
    roles = {difference.role for difference in found.differences}
    best, table = found.best, found.table
    assert best is not None
    said = []
    if "baseline" not in roles:
        said.append(f"There is no finished zero-shot baseline with the prompt of {best.name} to compare with.")
    if found.metric == LOSS and len({row.train.model for row in table.rows if row.train}) > 1:
        said.append("Losses of different base models cannot be compared where their tokenizers differ.")
    if found.runner_up is None:
        said.append(f"There is no second finished configuration to compare {best.name} with.")
    return said


def _cautions(found: Comparison) -> list[str]:
    table, said = found.table, []
    if table.split == table.selection_split:
        said.append(f"Chosen and reported on the same {table.split} examples: the score of the best is optimistic.")
    partial = [one for one in found.ranking if len(one.rows) < one.requested]
    for one in partial:
        said.append(
            f"{one.name} is the mean of {len(one.rows)} of its {one.requested} seeds; the others have no score."
        )
    seeds = max(one.requested for one in found.ranking)
    if seeds > 1:
        said.append(
            "A configuration's score on an example is its mean over its seeds; the intervals cover which examples were "
            "drawn, and take these seeds as they are."
        )
    else:
        said.append("One seed each: the intervals cover which examples were drawn, not what another seed would give.")
    return said


def rounded(count: int) -> str:
    """Write a count with two digits, upward: it is an estimate."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"
