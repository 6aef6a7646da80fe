"""A new sweep that is refused leaves nothing behind: the same command can be run again once the cause is mended.

Only files that this very command wrote are removed, and only while no trial has left anything but its configuration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from sweep.environment.lease import LEASE_FILE, Lease
from sweep.request import output_folder
from trainables.records.record import SweepFolder

FILLED = ("trials", "tensorboard", "ray")  # folders that a launch fills before its first trial has a slot


def there(out: Path) -> frozenset[Path]:
    """Return what is there before a command writes: `out`, the folders above it and everything in it."""
    above = [path for path in (out, *out.parents) if path.exists()]
    return frozenset([*above, *(out.rglob("*") if out.is_dir() else ())])


def take_back(out: Path, before: frozenset[Path], examples: Collection[Path], lease: Lease) -> None:
    """Remove what this command wrote of the sweep in `out` and give up its lease; `before` is `there()` of then.

    Nothing is removed where the sweep is older than the command, has a trial with more than its configuration, or has
    been taken over by another run.
    """
    if SweepFolder(out).sweep_path in before or _has_begun(out):
        return
    lease.end_with(lambda: _remove(out, before, examples))


def _has_begun(out: Path) -> bool:
    return any(path.name != "config.json" for path in (out / "trials").glob("*/*"))


def _remove(out: Path, before: frozenset[Path], examples: Collection[Path]) -> None:
    folder = SweepFolder(out)
    own = {out / LEASE_FILE, out / output_folder.LOCK, folder.sweep_path, out / "data", *examples}
    own |= {folder.infeasible_path, *out.glob(f"{folder.study_path.name}*")}
    for path in sorted(out.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        if path in before or not (path in own or path.relative_to(out).parts[0] in FILLED):
            continue
        with contextlib.suppress(OSError):  # a folder that holds something else stays
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in (out, *out.parents):
        if path not in before:
            with contextlib.suppress(OSError):
                path.rmdir()
