"""The folder of a sweep before anything is written: is it free, is it ours, may this request extend it?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sweep.environment import lease
from sweep.request.overrides import Request
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder

# What a driver that was killed before it wrote sweep.json may have left; its lock, which comes first, tells its `data`
# from a user's.
LOCK = ".lease.lock"
UNFINISHED = {"lease.json", LOCK, "data", "ray"}


def sweep_in(out: Path) -> SweepManifest | None:
    """Return the sweep.json of folder `out`, None where a new sweep may start there.

    Raises:
        UserError: it is a file, holds something else, or its sweep.json is damaged.
    """
    if existing_part(out) != out:
        return None
    try:
        return SweepFolder(out).manifest()
    except FileNotFoundError:
        names = sorted({path.name for path in out.iterdir()} - {SweepFolder(out).engine_error_path.name})
        foreign = [name for name in names if LOCK not in names or not _is_unfinished(name)]
        if foreign:
            raise UserError(
                f"{out} is not empty and holds no sweep ({foreign[0]}, ...); choose another --out"
            ) from None
        return None
    except atomic_files.DamagedFile as error:
        raise UserError(f"{error}; restore it from a copy, or choose another --out (it was left as it is)") from None


def _is_unfinished(name: str) -> bool:
    return name in UNFINISHED or (name.startswith(".") and name.endswith(".tmp")) or name.endswith(".damaged")


def check_writable(out: Path) -> None:
    """Raise UserError unless `out` is a folder that can be written, or can be made; leaves nothing behind."""
    place = existing_part(out)
    try:
        probe(place)
    except OSError as error:
        raise UserError(f"--out {out} is not possible: {place} cannot be written ({error.strerror})") from None


def probe(folder: Path) -> None:
    """Raise OSError unless a folder can be written; leaves nothing behind."""
    # A trial tells more than permission bits, which say nothing of read-only disks or to the superuser.
    os.rmdir(tempfile.mkdtemp(prefix=".probe-", dir=folder))


def existing_part(out: Path) -> Path:
    """Return `out` or the nearest folder above it that exists; UserError where that is a file."""
    place = out
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UserError(f"--out {out} is not possible: {place} is a file")
    return place


def check_extends(out: Path, sweep: SweepManifest, request: Request, source: str) -> None:
    """Raise UserError unless the request may extend the sweep in `out`, as far as names can tell."""
    experiment = request.experiment
    if sweep.experiment != experiment.name:
        raise UserError(f"{out} holds a sweep of {sweep.experiment!r}, not {experiment.name!r}; choose another --out")
    kinds = {part.label: part.kind for part in (*sweep.resolved.models, sweep.resolved.data)}
    stood_in = [label for label, kind in kinds.items() if kind == "bundled"]
    if source == "hub" and stood_in:
        raise UserError(
            f"{out} was started with the bundled {' and '.join(stood_in)} and a sweep never switches its sources; "
            "--source hub needs another --out"
        )
    if source == "bundled" and len(stood_in) < len(kinds):
        real = ", ".join(f"{label} ({kind})" for label, kind in kinds.items() if kind != "bundled")
        raise UserError(f"{out} was started with {real}; --source bundled needs another --out")
    report, base = sweep.resolved.data.report, experiment.grid.base
    asked = {
        "source_field": base.source_field,
        "target_field": base.target_field,
        "keep_leaked": experiment.keep_leaked,
    }
    for name, value in asked.items():
        if report[name] != value and not (sweep.resolved.data.stood_in and name not in request.changed):
            raise UserError(f"{out} was started with {name}={report[name]!r}, got {value!r}; choose another --out")


def set_aside(out: Path) -> Path:
    """Rename the folder of an old sweep to a free `.old-N` name and return that; UserError while a run writes it."""
    held = lease.read(out)
    if held is not None and not lease.is_stale(out, held):
        raise UserError(f"{out} is being written by another run; --fresh has to wait until it ends")
    number = 1
    while (target := out.with_name(f"{out.name}.old-{number}")).exists():
        number += 1
    os.replace(out, target)
    return target
