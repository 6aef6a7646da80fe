"""`sweep report`: print a sweep's comparison and write its report; the verb of `analysis.report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.report import report
from sweep.cli_support import command
from sweep.cli_support.heartbeat import telling
from trainables.startup_progress import stage

app = command.app(report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    with telling(), stage("comparing the trials"):
        return command.execute(app, "sweep report", arguments)


if __name__ == "__main__":
    sys.exit(main())
