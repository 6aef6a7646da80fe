"""What this machine is said to have."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from trainables import machine

LIMITED = """
import resource
from trainables import machine
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
