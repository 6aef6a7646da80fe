"""Compare the configurations of one sweep (`compare`), or several sweeps: `python -m analysis.compare RUN RUN...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis import command
from analysis.comparison.comparison import compare
from trainables.errors import UserError

__all__ = ["compare", "main", "show"]


def show(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="folders of sweeps, or names under runs/")],
    metric: Annotated[str | None, typer.Option(help="score that decides; default: the first sweep's own")] = None,
    evaluation: Annotated[str | None, typer.Option("--eval", help="identity of another evaluation")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON in place of tables")] = False,
) -> None:
    """Lay several sweeps of one task side by side; refuse what is not comparable."""
    # What only this verb needs: whoever imports `compare` does not pay for it.
    from analysis.findings.across_sweeps import across
    from analysis.format import terminal
    from analysis.render import terminal_tables
    from analysis.render.across_tables import entry_grid, run_grid
    from analysis.render.json_report import across_document, plain

    try:
        found = across([command.sweep_folder(run) for run in runs], metric, evaluation)
    except OSError as error:
        raise UserError(str(error)) from None
    if as_json:
        terminal.print_json(plain(across_document(found)))
        return
    console = terminal.results()
    terminal_tables.print_grids(console, [entry_grid(found), run_grid(found)], found.sentences)
    for signature in found.signatures:
        console.print(signature, soft_wrap=True)


def main() -> None:
    command.run(show)


if __name__ == "__main__":
    main()
