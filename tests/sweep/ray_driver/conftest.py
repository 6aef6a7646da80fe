"""What launches are compared with, and that none outlives its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from launches import LONG, PATIENCE_S
from small_sweep import kill_started, output, start


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    assert start(out, LONG).wait(timeout=PATIENCE_S) == 0, output(out)
    return out


@pytest.fixture(autouse=True)
def no_launch_left() -> Iterator[None]:
    """End what a test that failed has left: it would take the cores of all tests that follow."""
    yield
    kill_started()
