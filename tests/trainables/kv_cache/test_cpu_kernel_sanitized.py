"""The compiled part of decoding under AddressSanitizer: the tests of it again, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.hardware import machine

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SUPPORT = ROOT / "tests" / "support"


def runtime() -> str | None:
    """Return the libraries to preload for the C compiler that is here, None where it has no AddressSanitizer."""
    names = ("libasan.so", "libclang_rt.asan-x86_64.so", "libclang_rt.asan.so")
    found = next((path for name in names if (path := path_of(name)) is not None), None)
    if found is None:
        return None
    # torch throws in C++: the sanitizer looks for what it stands before as the process starts.
    return " ".join(filter(None, (found, path_of("libstdc++.so.6"))))


def path_of(library: str) -> str | None:
    compiler = machine.c_compiler()
    if compiler is None:
        return None
    done = subprocess.run([compiler, f"-print-file-name={library}"], capture_output=True, text=True, check=False)
    path = Path(done.stdout.strip())
    return str(path) if path.is_absolute() and path.exists() else None


def under_sanitizer(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {
        "LD_PRELOAD": runtime() or "",
        # Python leaves much to the end of the process; and a test asks for more memory than there is.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "PACKSWEEP_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(SUPPORT))),
    }
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **own}, cwd=ROOT, capture_output=True, text=True, check=False
    )


pytestmark = [pytest.mark.slow, pytest.mark.skipif(runtime() is None, reason="needs a C compiler's AddressSanitizer")]


def test_the_kernels_tests_touch_no_memory_but_their_own(tmp_path: Path) -> None:
    files = [str(HERE / name) for name in ("test_cpu_kernel.py", "test_cpu_kernel_guards.py")]
    done = under_sanitizer(tmp_path, "-m", "pytest", "-p", "sanitized_kernel", "-m", "not slow", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


def test_what_the_guards_prevent_would_be_seen(tmp_path: Path) -> None:
    done = under_sanitizer(tmp_path, str(SUPPORT / "sanitized_kernel.py"))
    assert done.returncode != 0
    assert "as it should be" in done.stdout
    assert "nobody saw it" not in done.stdout
    assert "heap-buffer-overflow" in done.stderr
