"""What launches are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from launches import LONG, PATIENCE_S
from small_sweep import output, start


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "run"
    assert start(out, LONG).wait(timeout=PATIENCE_S) == 0, output(out)
    return out
