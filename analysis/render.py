"""A comparison for people: terminal and Markdown."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.compare import Comparison
from analysis.grids import Grid, difference_grid, fit, main_grid, one_line, seed_grid
from analysis.panels import baseline_grid, effect_grid, more_grids
from analysis.sentences import headline, title_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

PLAIN_WIDTH = 120
MOST_ROWS = 24  # configurations against baselines in a terminal; Markdown has all
STYLES = {
    "best": "bold green",
    "baseline": "cyan",
    "reference": "dim",
    "pending": "yellow",
    "stopped": "yellow",
    "failed": "red",
    "diverged": "red",
    "oom": "red",
    "better": "green",
    "worse": "red",
}


def console_for_output() -> Console:
    """Return a console on standard output: plain, and 120 columns wide, where that is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False)


def title(found: Comparison) -> tuple[str, str]:
    """Say what was swept on which model and data; and on how many examples the scores are."""
    table = found.table
    sizes = table.evaluation.examples
    scores = f"Scores on {sizes[table.split]} {table.split} examples"
    choice = f", choice on {sizes['validation']} validation examples" if len(sizes) > 1 else ""
    return f"{table.experiment}: {table.model} on {table.data}", f"{scores}{choice}; evaluation {table.eval_id}."


def legend(found: Comparison) -> list[str]:
    """Say what the marks and the reference rows are, a line each."""
    marks = f"* best by {title_of(found.metric)} on {found.table.selection_split}"
    marks += "; + runner-up" if found.runner_up else ""
    about = [f"{reference.name}: {reference.about}" for reference in found.references]
    return [marks, *about] if found.best else about


# --- terminal --------------------------------------------------------------------------------------------------------


def to_terminal(console: Console, found: Comparison, alarm: str = "") -> None:
    """Print the comparison; columns that do not fit are named below the table."""
    from rich.table import Table as RichTable
    from rich.text import Text

    def say(text: str, style: str = "") -> None:
        # Text, not markup: an interval's brackets are no tags.
        print_lines(console, Text(text, style))

    if alarm:
        say(f"{alarm}\n", "bold red")
    if found.table.banner:
        say(found.table.banner, "bold yellow")
    heading, sizes = title(found)
    say(heading, "bold")
    say(f"{sizes}\n")
    dropped = print_grid(console, main_grid(found))
    for line in legend(found):
        say(line, "dim")
    if dropped:
        say(f"Not shown for want of width: {', '.join(dropped)}.", "dim")
    console.print()
    first, *others = found.sentences
    say(f"{first}\n", "bold green" if found.best else "bold")
    for grid in _grids(found, MOST_ROWS):
        print_grid(console, grid)
    if others := [*others, *found.findings.sentences]:
        bullets = RichTable.grid(padding=(0, 1))
        for sentence in others:
            bullets.add_row("-", Text(sentence))
        print_lines(console, bullets)
        console.print()
    for signature in found.table.signatures:
        say(signature, "dim")


def print_grids(console: Console, grids: Sequence[Grid], sentences: Sequence[str]) -> None:
    """Print tables that have rows, then sentences."""
    from rich.text import Text

    for grid in grids:
        if grid.rows:
            print_grid(console, grid)
    for sentence in sentences:
        print_lines(console, Text(sentence))


def _grids(found: Comparison, most: int | None = None) -> list[Grid]:
    """Return the tables below the main one that have rows, `most` of the baselines' alone."""
    against = baseline_grid(found)
    against = replace(against, rows=against.rows[:most], kinds=against.kinds[:most])
    return [grid for grid in (seed_grid(found), difference_grid(found), against, effect_grid(found)) if grid.rows]


def print_grid(console: Console, grid: Grid) -> list[str]:
    """Print what fits of a grid and an empty line; return the titles of what does not fit."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown, dropped = fit(grid, console.width)
    gap = 2 if shown.width(gap=2) <= console.width else 1
    table: RichTable = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for head in shown.heads:
        side = "right" if head.is_number else "left"
        table.add_column(Text(head.title), justify=side, no_wrap=True, vertical="bottom")  # type: ignore[arg-type]
    for index, (row, kind) in enumerate(zip(shown.rows, shown.kinds, strict=True)):
        table.add_row(*map(Text, row), style=STYLES.get(kind, ""), end_section=index in grid.section_ends)
    print_lines(console, table)
    if shown.legend:
        print_lines(console, Text(shown.legend, "dim"))
    console.print()
    return dropped


def print_lines(console: Console, what: RichTable | Text) -> None:
    """Print a table or a text; where that is no terminal without the blanks at the ends of its lines."""
    if console.is_terminal:
        console.print(what)
        return
    from rich.text import Text

    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


# --- Markdown --------------------------------------------------------------------------------------------------------


def to_markdown(found: Comparison, alarm: str = "") -> str:
    """Return the comparison as a Markdown document."""
    table = found.table
    parts = [f"# {table.experiment}"]
    if alarm:
        parts.append(f"**{escaped(alarm)}**")
    if table.banner:
        parts.append(f"> **{table.banner}**")
    parts += [". ".join(title(found)), pipes(main_grid(found))]
    parts.append("\n".join(f"- {escaped(line)}" for line in legend(found)))
    parts.append(f"**{headline(found)}**")
    parts += [text for grid in _grids(found) for text in (pipes(grid), escaped(grid.legend)) if text]
    parts += [f"**{escaped(title)}**\n\n{pipes(grid)}" for title, grid in more_grids(found)]
    if others := [*found.sentences[1:], *found.findings.sentences]:
        parts.append("\n".join(f"- {escaped(sentence)}" for sentence in others))
    parts += [f"Scores: {escaped(signature)}." for signature in table.signatures]
    return "\n\n".join(parts) + "\n"


def pipes(grid: Grid) -> str:
    """Return a grid as a Markdown table."""
    titles = [escaped(one_line(head.title)) for head in grid.heads]
    rule = ["--:" if head.is_number else ":--" for head in grid.heads]
    rows = [[escaped(text) for text in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, rule, *rows])


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
