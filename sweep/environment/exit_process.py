"""Leaving a process under which Ray was taken away: at once, and with the exit code that was decided (no ray).

While a thread waits in Ray's core, neither its shutdown nor what it has registered for the exit can be called: the core
may end the process by itself (exit 1), or wait a minute for processes that are gone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys

_code: list[int] = []  # the last decision; empty until `at_once`


def at_once(code: int) -> None:
    """Have the process leave with `code` as soon as Python has ended, before what was registered for that earlier."""
    if not _code:
        atexit.register(_leave)
    _code[:] = [code]


def with_code(code: int) -> None:
    """Decide anew with which code the process will leave, where it is to leave at once."""
    if _code:
        _code[:] = [code]


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(_code[0])
