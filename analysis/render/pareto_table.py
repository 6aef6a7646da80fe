"""The Pareto set of a search with several objectives as a table."""

from __future__ import annotations

from analysis.comparison.comparison import Comparison
from analysis.comparison.pareto import objective_values
from analysis.findings.sentences import describe
from analysis.records.objective_values import objective_text, objective_title
from analysis.render.text_grids import Head, TextGrid


def pareto_grid(found: Comparison) -> TextGrid:
    """Return the set in the order of the first objective, with every objective where the choice is made."""
    objectives = found.table.search.objectives if found.table.search else ()
    heads = (
        Head("name", is_number=False),
        *(Head(f"{objective_title(one.name)} ({'less' if one.is_small else 'more'})") for one in objectives),
        Head("configuration", 1, is_number=False),
    )
    rows = []
    for one in found.front:
        values = objective_values(one, objectives, found.table.selection_split) or ()
        texts = [objective_text(objective.name, value) for objective, value in zip(objectives, values, strict=True)]
        rows.append((one.name, *texts, describe(one, found.table)))
    return TextGrid(heads, tuple(rows), ("best",) * len(rows))
