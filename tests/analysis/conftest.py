"""The fixture that writes a sweep's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sweeps_on_disk import SMALL, Trial, grid, write_sweep

from trainables.config import EvalConfig


@pytest.fixture
def make_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep of `trials` under an evaluation of 12 and 20 examples."""

    def make(trials: Sequence[Trial] | None = None, evaluation: EvalConfig = SMALL, **options: Any) -> Path:
        return write_sweep(tmp_path / "run", grid() if trials is None else trials, evaluation, **options)

    return make
