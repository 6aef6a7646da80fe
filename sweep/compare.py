"""`sweep compare`: several sweeps of one task side by side; the verb of `analysis.compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.compare import show
from sweep.cli_support import command
from sweep.cli_support.heartbeat import telling
from trainables.startup_progress import stage

app = command.app(show)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    with telling(), stage("comparing the trials"):
        return command.execute(app, "sweep compare", arguments)


if __name__ == "__main__":
    sys.exit(main())
