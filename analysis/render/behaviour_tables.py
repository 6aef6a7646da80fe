"""The behaviour panel and the scores by group as tables of text, for terminal and Markdown."""

from __future__ import annotations

from analysis.findings.findings import Findings
from analysis.findings.sentences import title_of
from analysis.format.cells import NOTHING, cell
from analysis.format.terminal import Console, text
from analysis.render.markdown import escaped, pipes
from analysis.render.terminal_tables import print_grid, print_lines
from analysis.render.text_grids import Head, TextGrid
from analysis.texts.behaviour import MEASURES, Groups, Measure, Panel, by_group

# On a narrow terminal: what tells copying, length and ends apart stays longest.
_FIRST = """
rouge1_cut length_ratio coverage density copied novel_2 cut_off empty rouge1 unsupported_names echo rougeL rougeL_cut
words unsupported_numbers compression
"""
FIRST = _FIRST.split()
COUNT_TITLES = {"source_words": "words of the source", "reference_words": "words of the reference"}


def written(value: float | None, measure: Measure) -> str:
    """Write the mean of a measure in its style."""
    if value is None:
        return NOTHING
    styles = {"share": f"{100 * value:.0f}%", "points": f"{100 * value:.2f}", "count": f"{value:.1f}"}
    return styles.get(measure.style, f"{value:.2f}")


def behaviour_grid(panel: Panel, best: str = "") -> TextGrid:
    """Return the panel: a row per system, references and copied turns first."""
    measures = [one for one in MEASURES if one.is_main]
    heads = (
        Head("texts of", is_number=False),
        *(Head(one.title.replace(" ", "\n"), _rank(one), about=f"{one.title}: {one.about}") for one in measures),
    )
    systems = panel.outputs.systems
    rows = tuple(
        (system.name, *(written(panel.mean(system.name, one.name), one) for one in measures)) for system in systems
    )
    is_best = [one.row is not None and one.row.name == best and one.kind == "configuration" for one in systems]
    kinds = tuple("best" if first else one.kind for first, one in zip(is_best, systems, strict=True))
    return TextGrid(heads, rows, kinds)


def _rank(measure: Measure) -> int:
    return 1 + (FIRST.index(measure.name) if measure.name in FIRST else len(FIRST))


def group_title(groups: Groups) -> str:
    """Say by what the scores are grouped: 'ROUGE-L by words of the source'."""
    return f"{title_of(groups.metric)} by {COUNT_TITLES.get(groups.by, groups.by)}"


def group_grid(groups: Groups) -> TextGrid:
    """Return mean scores by group of examples, a row per system."""
    heads = (
        Head("texts of", is_number=False),
        *(Head(f"{name}\n(n={size})") for name, size in zip(groups.names, groups.sizes, strict=True)),
    )
    rows = tuple((name, *(cell(value, "points") for value in means)) for name, means in groups.means.items())
    return TextGrid(heads, rows, ("",) * len(rows))


def panel_title(panel: Panel) -> str:
    """Say what the panel is of."""
    return f"How the texts are made: means over {len(panel.outputs.examples)} {panel.outputs.split} examples"


def print_behaviour(console: Console, findings: Findings, by: str) -> None:
    """Print the panel, the scores by group and what they amount to.

    Raises:
        UserError: no example has the column `by`.
    """
    found, panel = findings.comparison, findings.panel
    groups = by_group(panel.outputs, by) if panel.outputs.examples else None
    console.print(text(panel_title(panel), "bold"))
    dropped = print_grid(console, behaviour_grid(panel, found.best.name if found.best else ""))
    if dropped:
        print_lines(console, text(f"Not shown for want of width: {', '.join(dropped)}.\n", "dim"))
    for note in panel.outputs.notes:
        print_lines(console, text(note))
    if groups:
        console.print(text(group_title(groups), "bold"))
        print_grid(console, group_grid(groups))
    for sentence in findings.unlike:
        print_lines(console, text(sentence))


def behaviour_to_markdown(findings: Findings, by: str) -> str:
    """Return panel, scores by group and what they amount to as a Markdown document.

    Raises:
        UserError: no example has the column `by`.
    """
    found, panel = findings.comparison, findings.panel
    grid = behaviour_grid(panel, found.best.name if found.best else "")
    parts = [f"# {escaped(f'{found.table.experiment}: {panel_title(panel).lower()}')}"]
    parts += [escaped(one) for one in (*findings.unlike, *panel.outputs.notes)]
    parts.append(pipes(grid))
    if panel.outputs.examples:
        groups = by_group(panel.outputs, by)
        parts += [f"**{escaped(group_title(groups))}**", pipes(group_grid(groups))]
    parts.append("\n".join(f"- {escaped(head.about)}" for head in grid.heads if head.about))
    parts += [f"Scores: {escaped(one)}." for one in found.table.signatures]
    return "\n\n".join(parts) + "\n"
