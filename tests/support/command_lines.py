"""Verbs run in processes of their own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


REPORT = "import sys; print(sorted({'torch', 'ray', 'transformers', 'datasets', 'pandas'} & set(sys.modules)))"


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, *code.split("\0")], capture_output=True, text=True, cwd=folder, env=variables, check=False
    )


def cli(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in a process of its own that reports on stderr which heavy packages it has loaded."""
    code = f"import sys; from sweep.cli import main; code = main({list(arguments)!r}); sys.stdout.flush(); "
    return python(f"-c\0{code}sys.stdout = sys.stderr; {REPORT}; sys.exit(code)", folder, **environment)
