"""The console script `sweep VERB`: each verb is loaded alone, so that `sweep --help` loads nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from trainables.errors import nearest
from trainables.visible_text import visible

VERBS = {
    "run": "train and evaluate an experiment, or continue it, and print the comparison",
    "plan": "show the trials of an experiment and what they need",
    "status": "show how far a sweep is",
    "best": "show the configuration to keep, or export its adapter",
    "report": "print the comparison of a sweep and write its report",
    "compare": "lay several sweeps of one task side by side",
    "eval": "evaluate kept adapters anew: other decoding, examples or metrics",
    "show": "show training rows as the model sees them",
    "list": "list experiments and sweeps",
    "doctor": "show versions, devices, cache and disk",
}


def usage() -> str:
    """Return what `sweep --help` prints."""
    lines = "\n".join(f"  {verb:<8}{about}" for verb, about in VERBS.items())
    return f"Usage: sweep VERB [OPTIONS]\n\nVerbs:\n{lines}\n\n`sweep VERB --help` shows a verb's options.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if given else 2
    if given[0] not in VERBS:
        sys.stderr.write(visible(f"sweep: verb {given[0]!r} is unknown; {nearest(given[0], VERBS)}\n"))
        return 2
    if arguments is None:
        del sys.argv[1]  # what follows is the verb's own command line, as with python -m sweep.VERB
    return int(importlib.import_module(f"sweep.{given[0]}").main(given[1:]))


if __name__ == "__main__":
    sys.exit(main())
