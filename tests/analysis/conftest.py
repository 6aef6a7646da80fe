"""The fixture that writes a sweep's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sweeps_on_disk import SMALL, Trial, grid, write_sweep

from trainables.config import EvalConfig


@pytest.fixture
def make_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep of `trials` under an evaluation of 12 and 20 examples, each in a folder of its own."""
    numbers = count()

    def make(trials: Sequence[Trial] | None = None, evaluation: EvalConfig = SMALL, **options: Any) -> Path:
        return write_sweep(
            tmp_path / f"run-{next(numbers)}", grid() if trials is None else trials, evaluation, **options
        )

    return make
