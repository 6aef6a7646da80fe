"""A comparison for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.comparison.comparison import Comparison
from analysis.findings.findings import Findings
from analysis.findings.pareto_sentences import pareto_title
from analysis.findings.searches.points import is_search
from analysis.findings.sentences import title_of
from analysis.format.terminal import Console, Table, Text, text
from analysis.render.panels import baseline_grid, effect_grid
from analysis.render.pareto_table import pareto_grid
from analysis.render.row_order import MOST_ROWS, left_out_line, shown_rows
from analysis.render.text_grids import TextGrid, difference_grid, fit_to_width, main_grid, seed_grid
from trainables.records.trial_states import FAILURES, TrialState

MOST_TESTS_PRINTED = 24  # configurations against baselines in a terminal; Markdown has all
MOST_OF_A_SEARCH = 5  # the best first
ROW_STYLES: dict[str, str] = {
    "best": "bold green",
    "baseline": "cyan",
    "reference": "dim",
    TrialState.PENDING: "yellow",
    TrialState.STOPPED: "yellow",
    **dict.fromkeys(FAILURES, "red"),
    "better": "green",
    "worse": "red",
}


def title(found: Comparison) -> tuple[str, str]:
    """Say what was swept on which model and data; and on how many examples the scores are."""
    table = found.table
    sizes = table.evaluation.examples
    scores = f"Scores on {sizes[table.split]} {table.split} examples"
    choice = f", choice on {sizes['validation']} validation examples" if len(sizes) > 1 else ""
    return f"{table.experiment}: {table.model} on {table.data}", f"{scores}{choice}; evaluation {table.eval_id}."


def legend(found: Comparison) -> list[str]:
    """Say what the marks and the reference rows are, a line each."""
    if found.front:
        return [f"* {pareto_title(found)}", *(f"{reference.name}: {reference.about}" for reference in found.references)]
    marks = f"* best by {title_of(found.metric)} on {found.table.selection_split}"
    marks += "; + runner-up" if found.runner_up else ""
    about = [f"{reference.name}: {reference.about}" for reference in found.references]
    return [marks, *about] if found.best else about


def to_terminal(console: Console, findings: Findings, alarm: str = "") -> None:
    """Print the comparison; columns that do not fit are named below the table."""
    found = findings.comparison

    def say(line: str, style: str = "") -> None:
        print_lines(console, text(line, style))

    if alarm:
        say(f"{alarm}\n", "bold red")
    if found.table.banner:
        say(found.table.banner, "bold yellow")
    heading, sizes = title(found)
    say(heading, "bold")
    say(f"{sizes}\n")
    dropped = print_grid(console, main_grid(found, MOST_ROWS))
    for line in filter(None, (left_out_line(shown_rows(found, MOST_ROWS), found), *legend(found))):
        say(line, "dim")
    if dropped:
        say(f"Not shown for want of width: {', '.join(dropped)}.", "dim")
    console.print()
    first, *others = findings.conclusions
    say(f"{first}\n", "bold green" if found.best else "bold")
    for grid in grids_of(findings, MOST_TESTS_PRINTED):
        print_grid(console, grid)
    if others := [*others, *findings.sentences]:
        bullets = Table(box=None, show_header=False, padding=(0, 1))
        for sentence in others:
            bullets.add_row("-", sentence)
        print_lines(console, bullets)
        console.print()
    for signature in found.table.signatures:
        say(signature, "dim")


def print_grids(console: Console, grids: Sequence[TextGrid], sentences: Sequence[str]) -> None:
    """Print tables that have rows, then sentences."""
    for grid in grids:
        if grid.rows:
            print_grid(console, grid)
    for sentence in sentences:
        print_lines(console, text(sentence))


def grids_of(findings: Findings, most: int | None = None) -> list[TextGrid]:
    """Return the tables below the main one that have rows, `most` of the baselines' alone."""
    found = findings.comparison
    against = baseline_grid(findings)
    most = min(most, MOST_OF_A_SEARCH) if most is not None and is_search(found) else most
    left_out = len(against.rows) - len(against.rows[:most])
    against = replace(against, rows=against.rows[:most], kinds=against.kinds[:most], left_out=left_out)
    grids = (pareto_grid(found), seed_grid(found), difference_grid(found), against, effect_grid(findings))
    return [grid for grid in grids if grid.rows]


def print_grid(console: Console, grid: TextGrid) -> list[str]:
    """Print what fits of a grid and an empty line; return the titles of what does not fit."""
    shown, dropped = fit_to_width(grid, console.width)
    gap = 2 if shown.width(gap=2) <= console.width else 1
    table = Table(padding=(0, gap - 1, 0, 0))
    for head in shown.heads:
        side = "right" if head.is_number else "left"
        table.add_column(text(head.title), justify=side, no_wrap=True, vertical="bottom")  # type: ignore[arg-type]
    for index, (row, kind) in enumerate(zip(shown.rows, shown.kinds, strict=True)):
        table.add_row(*row, style=ROW_STYLES.get(kind, ""), end_section=index in grid.section_ends)
    print_lines(console, table)
    if shown.legend:
        print_lines(console, text(shown.legend, "dim"))
    console.print()
    return dropped


def print_lines(console: Console, what: Table | Text) -> None:
    """Print a table or a text; where that is no terminal without the blanks at the ends of its lines."""
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        console.print(text(line.rstrip()), soft_wrap=True)
