"""What every verb shares: its exit codes, and how it prints and fails (no torch, no ray).

Results go to stdout, banners, progress and errors to stderr. A mistake of the user's is one sentence and exit 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from analysis.command import RUNS
from analysis.format.terminal import any_letter_can_be_printed, notes, print_json, results
from sweep.cli_support.options import one_by_one, with_values
from sweep.environment import exit_process
from sweep.environment.secrets import without_secrets
from trainables.errors import UserError, nearest, shown
from trainables.records.atomic_files import DamagedFile
from trainables.records.record import SweepFolder
from trainables.units import parse_bytes

__all__ = ["notes", "print_json", "results"]  # beside what is below: what every verb prints by

DONE, SOME_FAILED, BAD_USAGE = 0, 1, 2


def note(text: str, style: str | None = None) -> None:
    """Print one line beside the results."""
    notes().print(text, style=style)


def app(command: Callable[..., Any]) -> typer.Typer:
    """Return the typer application of one verb."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(one_by_one(command))
    return made


def execute(application: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code; a UserError is one line on stderr and 2."""
    any_letter_can_be_printed()
    code = _execute(application, name, arguments)
    exit_process.with_code(code)
    return code


def _execute(application: typer.Typer, name: str, arguments: Sequence[str] | None) -> int:
    try:
        given = with_values(sys.argv[1:] if arguments is None else arguments)
        code = application(args=given, prog_name=name, standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except (UserError, DamagedFile) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.filename is None:
            raise
        return _complain(f"{shown(error.filename)}: {error.strerror}")
    except Exception as error:
        # The command line library's own complaints (unknown option, missing argument) know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        return _complain(error.format_message())


def _complain(message: str) -> int:
    notes().print(f"sweep: {without_secrets(message)}", style="red")
    return BAD_USAGE


def memory_cap_bytes(text: str | None) -> int | None:
    """Return the bytes of --memory; raises UserError with the rule."""
    return None if text is None else parse_bytes("--memory", text)


def existing_sweep(run: str) -> SweepFolder:
    """Return the sweep in folder `run`, or of that name under runs/; UserError where there is none."""
    for path in (Path(run), RUNS / run):
        if (path / "sweep.json").exists():
            return SweepFolder(path.resolve())
    if Path(run).is_dir():
        raise UserError(f"{run} holds no sweep: it has no sweep.json")
    raise UserError(f"there is no sweep {run!r}; {nearest(run, [str(path) for path in sweeps_here()])}")


def sweeps_here() -> list[Path]:
    """Return the folders under runs/ that hold a sweep."""
    return sorted(path.parent for path in RUNS.glob("*/sweep.json"))
