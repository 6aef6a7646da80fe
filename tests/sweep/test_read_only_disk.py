"""A disk that may only be read: verbs that read answer as ever, those that write say so in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_sweep import make_finished_place

from sweep.environment import lease

ROOT = Path(__file__).resolve().parents[2]
MOUNTS = (
    bool(shutil.which("unshare"))
    and subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"],
        capture_output=True,
        check=False,
    ).returncode
    == 0
)
SAYS = """
import contextlib, io, json
from sweep.cli import main
found = {}
for line in %r:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(line.split())
    found[line] = [code, out.getvalue()]
print(json.dumps(found))
"""
READ = ("status own", "plan own.py", "best own", "list", "show own", "compare runs/own twin")
WRITE = {
    "eval own --metrics rouge,chrf": "runs/own cannot be written (Read-only file system)",
    "best own --export runs/own/out": "runs/own/out cannot be written (Read-only file system)",
    "report own": "runs/own/report cannot be written (Read-only file system)",
}


@pytest.mark.skipif(not MOUNTS, reason="no disk can be mounted here")
@pytest.mark.slow
def test_each_verb_on_a_disk_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_finished_place(tmp_path, monkeypatch)
    shutil.copytree("runs/own", "twin")
    held = lease.acquire(Path("runs/own"))
    code = SAYS % ([*READ, *WRITE],)
    mount = 'mount --bind runs runs && mount -o remount,bind,ro runs && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, sys.executable, code],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    held.release()
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert {line: said[line][0] for line in READ} == dict.fromkeys(READ, 0)
    for line, sentence in WRITE.items():
        code, text = said[line]
        assert code == 2, text
        assert len(text.splitlines()) == 1, text
        assert sentence in text
