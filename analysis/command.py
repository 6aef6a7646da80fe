"""A command of this folder run by itself, as `python -m analysis.report`: a mistake is one sentence and exit 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from trainables.errors import UserError


def run(command: Callable[..., Any]) -> None:
    """Run a command with the arguments of the process; verbs of `sweep` run it themselves, and say their own name."""
    try:
        typer.run(command)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
