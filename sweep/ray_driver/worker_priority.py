"""Imported first by the process of a light trial: it gives way to the engines (no ray, no torch).

Importing Tune costs each such process seconds of a core, while the engine of its machine imports torch, loads the base
and trains. Ray itself would rather have them all at the same low priority.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

NICENESS = 10


class LowPriority:
    """A first base class of light trials, so that their processes import this module before they import Tune."""


def give_way(trial: Any) -> Any:
    """Return a Tune function whose processes have this module's priority."""
    trial.__mixins__ = (LowPriority,)
    return trial


if Path(sys.argv[0]).name == "default_worker.py" and os.name == "posix":
    os.nice(max(0, NICENESS - os.nice(0)))
