"""A command of this folder run by itself, as `python -m analysis.report`: a mistake is one sentence and exit 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from analysis.format.terminal import notes
from trainables.errors import UserError, nearest, shown

RUNS = Path("runs")


def sweep_folder(run: Path) -> Path:
    """Return the sweep in folder `run`, or of that name under runs/; UserError naming those where there is none."""
    for path in (run, RUNS / run):
        if (path / "sweep.json").exists():
            return path
    if run.is_dir():
        raise UserError(f"{run} is no sweep: it has no sweep.json")
    known = sorted(str(path.parent) for path in RUNS.glob("*/sweep.json"))
    raise UserError(f"there is no sweep {str(run)!r}; {nearest(str(run), known)}")


def run(command: Callable[..., Any]) -> None:
    """Run a command with the arguments of the process; verbs of `sweep` run it themselves, and say their own name."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    application.command()(command)
    try:
        application(standalone_mode=False)
    except UserError as error:
        said = str(error)
    except OSError as error:
        if error.filename is None:
            raise
        said = f"{shown(error.filename)}: {error.strerror}"
    except Exception as error:
        # The command line library's own complaints (unknown option, missing argument) know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        said = error.format_message()
    else:
        return
    notes().print(f"error: {said}", style="red")
    sys.exit(2)
