"""A small process that outlives a killed driver by a moment, so that no point of its search stays running."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sweep.environment.lease import LEASE_FILE, Lease
from sweep.study import end_running

KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # what Python needs to start, and no secret


@contextlib.contextmanager
def ended_with_driver(study_path: Path, lease: Lease) -> Iterator[None]:
    """See to it that a study has no running trial once this process is gone, however it goes.

    Where no process can be started, the engines see to it, if they live long enough.
    """
    arguments = [study_path.absolute(), lease.folder.absolute() / LEASE_FILE, lease.owner]
    process = None
    with contextlib.suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", end_running.__file__, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            start_new_session=True, env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
        )  # fmt: skip
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
