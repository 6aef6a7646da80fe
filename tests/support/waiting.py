"""Waiting for what other threads and processes do: for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], limit_s: float = 10.0, look_s: float = 0.005) -> Found:
    """Return what `condition` gives once that is true; fails after `limit_s`."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {limit_s} s"
        time.sleep(look_s)
    return found


def assert_stays(condition: Callable[[], object], for_s: float, look_s: float = 0.005) -> None:
    """Assert that `condition` is true now and for so long."""
    end = time.monotonic() + for_s
    while True:
        assert condition(), f"not for {for_s} s"
        if time.monotonic() > end:
            return
        time.sleep(look_s)
