"""`sweep compare`: several sweeps of one task side by side; the verb of `analysis.compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.across import show
from sweep import command
from sweep.heartbeat import telling
from trainables.stage import stage

app = command.app(show)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    with telling(), stage("comparing the trials"):
        return command.execute(app, "sweep compare", arguments)


if __name__ == "__main__":
    sys.exit(main())
