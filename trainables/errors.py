"""Errors that a user can mend: one sentence with the key, the value, the rule and the nearest right name."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOT_WRITTEN = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
SHOWN_CHARACTERS = 120  # of a wrong value


class UserError(ValueError):
    """A wrong key, value, name or file: the command line prints it as one sentence and exits with 2."""


def cannot_write(place: Path, error: OSError) -> UserError:
    """Return what to say where a place cannot be written, or what else the system says."""
    told = f"{place} cannot be written ({error.strerror})"
    return UserError(told if error.errno in NOT_WRITTEN else str(error))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return 'did you mean X? known: A, B' for an unknown name."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names) if names else "none"
    return f"did you mean {close[0]!r}? known: {listed}" if close else f"known: {listed}"


def one_of(option: str, value: str, known: Iterable[str]) -> str:
    """Return `value`; raises UserError naming the option and the nearest known value."""
    names = list(known)
    if value not in names:
        raise UserError(f"{option} {value!r} is unknown; {nearest(value, names)}")
    return value


def shown(value: Any) -> str:
    """Write a wrong value for a sentence, a long one by its beginning."""
    try:
        text = repr(value)
    except Exception:  # a value of a user's own class, or a whole number of more digits than Python writes
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
