"""Variables of the environment that are kept from a sweep's processes, and how a user passes one on (standard library).

The names are carried in the environment itself, so that a process far below the driver can say what it was not given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

PASS_ENV = "PACKSWEEP_PASS_ENV"  # names, parted by commas, that a user passes on
WITHHELD = "PACKSWEEP_WITHHELD"  # names that were taken out, parted by commas; never a value
HIDDEN = "***"


def passed() -> set[str]:
    """Return the names that the user passes on."""
    return _names(PASS_ENV)


def withheld() -> set[str]:
    """Return the names that were taken out of this process's environment, or of one above it."""
    return _names(WITHHELD)


def note_withheld(names: Iterable[str]) -> None:
    """Let this process and those below it know what was taken out."""
    if known := withheld() | set(names):
        os.environ[WITHHELD] = ",".join(sorted(known))


def how_to_pass(problem: str) -> str:
    """Return the end of a sentence about a failure: what was withheld, and how to pass it; empty where nothing was."""
    names = withheld() - set(os.environ)
    if not names:
        return ""
    meant = sorted(name for name in names if re.search(rf"\b{re.escape(name)}\b", problem))
    listed = ", ".join([*meant, *sorted(names.difference(meant))])
    return (
        f"; withheld from it, since they may hold secrets: {listed}; {PASS_ENV}={','.join(meant) or 'NAME,NAME'} "
        "in the environment passes what it needs"
    )


def without_passed(text: str) -> str:
    """Return `text` with the values of the variables that were passed on hidden."""
    for value in (os.environ.get(name, "") for name in passed()):
        if len(value) >= 6:
            text = text.replace(value, HIDDEN)
    return text


def _names(variable: str) -> set[str]:
    return {name for name in re.split(r"[,\s]+", os.environ.get(variable, "")) if name}
