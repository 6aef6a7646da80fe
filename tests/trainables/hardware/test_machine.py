"""What this machine is said to have."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from trainables.hardware import machine

LIMITED = """
import resource
from trainables.hardware import machine
before = machine.memory_bytes()
resource.setrlimit(resource.{limit}, (8 * 2**30, resource.RLIM_INFINITY))
print(before, machine.memory_bytes())
"""


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_memory_is_what_a_limit_of_the_shell_leaves(limit: str) -> None:
    """As `ulimit -v` and `ulimit -d` set it; a small part is reserved already."""
    if machine.memory_bytes() <= 8 * 2**30 or not hasattr(resource, limit):
        pytest.skip("needs more than 8 GiB and such a limit")
    code = LIMITED.format(limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    before, after = (int(value) for value in done.stdout.split())
    assert before > 8 * 2**30 >= after > 7 * 2**30


@pytest.mark.processor
def test_a_newer_processor_is_asked_about_and_can_be_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.WITHOUT_AVX512, raising=False)
    for listed, avx512, bf16 in (
        ("fpu avx2 fma", False, False),
        ("fpu avx2 avx512f avx512bw avx512dq avx512vl", True, False),
        ("fpu avx2 avx512f avx512bw avx512dq avx512vl avx512_bf16", True, True),
    ):
        monkeypatch.setattr(machine, "instructions", lambda listed=listed: listed)
        assert (machine.has_avx512(), machine.multiplies_bf16()) == (avx512, bf16)
    monkeypatch.setenv(machine.WITHOUT_AVX512, "1")
    assert not machine.has_avx512()
    assert not machine.multiplies_bf16()
