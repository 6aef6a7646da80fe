"""Processor time of a tree of processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.cpu_time import CpuOfTree

BURNT_S = 0.3
CHILD = f"""
import sys, time
while time.process_time() < {BURNT_S}: pass
print(flush=True)
sys.stdin.read()
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]]); print(flush=True); input()"


def test_the_time_of_a_child_that_has_ended_stays_in_the_sum() -> None:
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        cpu = CpuOfTree(process.pid)
        process.stdout.readline()
        cpu.look()
        process.stdin.close()
    cpu.look()
    assert cpu.seconds >= BURNT_S
    assert sum(cpu.by_name.values()) == cpu.seconds
