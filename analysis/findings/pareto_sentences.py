"""Several objectives in words: the Pareto set in place of a winner."""

from __future__ import annotations

from analysis.comparison.comparison import Comparison
from analysis.comparison.pareto import objective_values
from analysis.format.lists import listed
from analysis.records.objective_values import objective_text, objective_title
from trainables.metric_table import metric_of


def pareto_title(found: Comparison) -> str:
    """Say by what a configuration is in the Pareto set: 'in the Pareto set of ROUGE-L (more) and runtime (less)'."""
    assert found.table.search is not None
    named = [
        f"{objective_title(one.name)} ({'less' if one.is_small else 'more'})" for one in found.table.search.objectives
    ]
    return f"in the Pareto set of {listed(named)}, on {found.table.selection_split}"


def pareto_sentence(found: Comparison) -> str:
    """Name the Pareto set, in the order of the first objective, in place of a winner."""
    names, total = listed([one.name for one in found.front], most=24), len(found.ranking)
    if len(found.front) == 1:
        return f"{names} alone is {pareto_title(found)}: no other of {total} configurations is better by any of them."
    return f"No single best: {names} are {pareto_title(found)}; {len(found.front)} of {total} configurations."


def pareto_sentences(found: Comparison) -> list[str]:
    """Say who leads by each objective, and that the set is that of the examples which chose it."""
    search, table, best = found.table.search, found.table, found.best
    assert search is not None
    assert best is not None
    said = []
    for objective in search.objectives:
        values = {one.name: objective_values(one, [objective], table.selection_split) for one in found.front}
        known = {name: value[0] for name, value in values.items() if value is not None}
        name = min(known, key=lambda one: known[one] * (1 if objective.is_small else -1))
        most = "Least" if objective.is_small else "Most"
        said.append(f"{most} {objective_title(objective.name)}: {name}, {objective_text(objective.name, known[name])}.")
    said.append(
        f"The set is that of {table.evaluation.examples[table.selection_split]} {table.selection_split} examples: on "
        "others a neighbour may take the place of one in it."
    )
    said.append(f"What is compared with baselines is {best.name}, which is best by {metric_of(found.metric).title}.")
    return said
