"""The fixture that writes a sweep's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from searches_on_disk import drawn, space, trials_of, write_search
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


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 14 points, written once: C failed, D was stopped, E is pending, one more was infeasible."""
    one = space(trials=14)
    states = {"C": {"state": "failed", "cause": "no"}, "D": {"state": "stopped"}, "E": {"state": None}}
    infeasible = [{"parameters": {"lora_rank": 32}, "cause": "it does not fit", "train_id": "0"}]
    folder = tmp_path_factory.mktemp("searched")
    return write_search(folder, one, trials_of(drawn(one, 14), **states), infeasible=infeasible)


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 10 points with three objectives, written once."""
    one = space(trials=10, objectives=("rougeL", "-trainable_parameters", "-runtime_s"))
    return write_search(tmp_path_factory.mktemp("several"), one)
