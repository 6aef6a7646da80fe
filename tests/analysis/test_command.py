"""A mistake in the sweep's folder: one sentence, after the name of what was called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweep import compare, report


@pytest.mark.parametrize("verb", [report, compare])
def test_a_verb_fails_as_all_verbs_do(verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb.main([str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("sweep: ")


@pytest.mark.parametrize("module", ["analysis.report", "analysis.compare"])
def test_a_module_run_by_itself_ends_with_a_sentence(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, str(tmp_path / "nothing")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
