"""The tables of several sweeps side by side as grids of text."""

from __future__ import annotations

from analysis.findings.across_sweeps import SCORES, Across
from analysis.findings.sentences import value_of
from analysis.format.cells import NOTHING, cell
from analysis.render.panels import interval_text, p_text
from analysis.render.text_grids import Head, TextGrid
from analysis.statistics.paired import FEWEST_EXAMPLES
from trainables.metric_table import metric_of


def entry_grid(found: Across) -> TextGrid:
    """Return the table of all entries."""
    shown = [name for name in SCORES if any(entry.scores.get(name) is not None for entry in found.entries)]
    several = len({entry.model for entry in found.entries}) > 1
    choice = f"{found.selection_split} {metric_of(found.metric).short}"
    heads = [Head("sweep", is_number=False), Head("name", is_number=False)]
    heads += [Head("model", 2, is_number=False)] if several else []
    heads += [Head("configuration", 4, is_number=False)]
    heads += [*(Head(metric_of(name).short, 1) for name in shown), Head(choice)]
    rows = []
    for entry in found.entries:
        cells = [entry.run, entry.name, *([entry.model] if several else []), entry.about]
        cells += [cell(entry.scores.get(name), metric_of(name).style) for name in shown]
        rows.append((*cells, value_of(found.metric, entry.selection)))
    ends = [index for index in range(len(rows) - 1) if found.entries[index].kind != found.entries[index + 1].kind]
    return TextGrid(tuple(heads), tuple(rows), tuple(entry.kind for entry in found.entries), tuple(ends))


def run_grid(found: Across) -> TextGrid:
    """Return the best of all against the best of each other sweep."""
    heads = (Head("best of all minus", is_number=False), Head("by"), Head("95% interval"), Head("Holm p"), Head("n", 1))
    rows = tuple(
        (
            f"{one.name} of {one.run}",
            value_of(found.metric, one.difference, True),
            interval_text(found.metric, one.low, one.high)
            if one.n >= FEWEST_EXAMPLES and one.high > one.low
            else NOTHING,
            p_text(one.p_holm),
            str(one.n),
        )
        for one in found.differences
    )
    return TextGrid(heads, rows, ("",) * len(rows))
