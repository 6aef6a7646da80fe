"""Whether the engines of a cluster see the driver's folders: asked before anything trains (no torch, no ray).

Driver and engines each write a file that the other one must find: a folder of the same name that is another one, such
as a copy, would take every record to where nobody looks.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.records import atomic_files

PATIENCE_S = 10.0  # of network file systems, whose listings may be some seconds old
POLL_S = 0.1
NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "gpfs", "beegfs", "9p", "virtiofs", "fuse.")


@dataclass(frozen=True)
class SeenFolders:
    """Which of the driver's files and folders an engine finds on its node."""

    host: str
    sees_driver: bool
    wrote: bool
    missing_folders: tuple[str, ...]


@dataclass(frozen=True)
class FolderProbe:
    """The driver's file in the sweep's folder, and folders that an engine needs beside it."""

    folder: str
    owner: str
    needed_folders: tuple[str, ...] = ()

    def path(self, who: str) -> Path:
        return Path(self.folder) / f".probe-{self.owner}-{who}"

    def leave(self) -> None:
        """Write the driver's file."""
        atomic_files.write_text(self.path("driver"), self.owner)

    def answer(self, name: str, patience_s: float = PATIENCE_S) -> SeenFolders:
        """Look for the driver's file and write the engine's own; called on the engine's node."""
        sees = _appears(self.path("driver"), self.owner, patience_s)
        wrote = False
        if sees:
            with contextlib.suppress(OSError):
                atomic_files.write_text(self.path(name), self.owner)
                wrote = True
        missing = tuple(folder for folder in self.needed_folders if not Path(folder).is_dir())
        return SeenFolders(platform.node(), sees, wrote, missing)

    def complaint(self, answers: Mapping[str, tuple[str, SeenFolders]], patience_s: float = PATIENCE_S) -> str | None:
        """Return what is wrong in one sentence, None where every engine's file is here.

        `answers`: what each engine has seen, by its name, with the name of its node.
        """
        blind = [node for node, seen in answers.values() if not seen.sees_driver]
        if blind:
            return f"{self.folder} is not there on {_list(blind)}, or is another folder there: {remedy(self.folder)}"
        silent = [node for node, seen in answers.values() if not seen.wrote]
        if silent:
            return f"{self.folder} cannot be written to from {_list(silent)}: mount it writable there"
        unseen = [node for name, (node, _) in answers.items() if not _appears(self.path(name), self.owner, patience_s)]
        if unseen:
            return f"what {_list(unseen)} writes to {self.folder} is not seen here: {remedy(self.folder)}"
        for node, seen in answers.values():
            if seen.missing_folders:
                return (
                    f"{_list([node])} has no {', '.join(seen.missing_folders)}, where the model is: copy it there, "
                    "or give --model a folder that all nodes see at the same path"
                )
        return None

    def remove(self) -> None:
        """Remove all files of this probe."""
        with contextlib.suppress(OSError):
            for path in Path(self.folder).glob(f".probe-{self.owner}-*"):
                path.unlink(missing_ok=True)


def remedy(folder: str) -> str:
    """Say what to mount so that all nodes see a folder: its file system where that is a shared one."""
    device, point, kind = mount_of(Path(folder))
    if any(kind == known or kind.startswith(known) for known in NETWORK_TYPES):
        return f"mount {device} ({kind}) at {point} there too"
    return (
        f"it lies on a disk of this machine alone ({device}, {kind}); "
        "give --out a folder on a file system that all nodes mount at the same path"
    )


def mount_of(folder: Path, table: Path = Path("/proc/mounts")) -> tuple[str, str, str]:
    """Return device, mount point and type of the file system that holds a folder."""
    best = ("unknown", "/", "unknown")
    with contextlib.suppress(OSError):
        for line in table.read_text(encoding="utf-8").splitlines():
            device, point, kind = line.split()[:3]
            point = point.encode().decode("unicode_escape")  # blanks are written as \040
            if folder.resolve().is_relative_to(point) and len(point) >= len(best[1]):
                best = (device, point, kind)
    return best


def _appears(path: Path, content: str, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8").strip() == content:
                return True
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)


def _list(nodes: Sequence[str]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {', '.join(nodes)}"
