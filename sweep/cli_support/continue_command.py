"""The command that continues a sweep, as one line for where its folder stands now, and the commands that made it."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from sweep.environment.provenance import typed
from sweep.environment.secrets import without_secrets
from trainables.config import digest
from trainables.records.atomic_files import DamagedFile
from trainables.records.manifest import CommandEntry, SweepManifest
from trainables.records.record import SweepFolder

UNKNOWN = "the same command"
ONCE = ("--fresh", "--retry-failed")  # what a command that continues never repeats
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
RUN = ["python", "-m", "sweep.run"]


def lines(folder: SweepFolder) -> list[str]:
    """Return what continues the sweep: the last command, then earlier ones, which may have asked for other trials."""
    sweep = folder.manifest()
    earlier = [sweep.model_copy(update={"command": one.command}) for one in reversed(sweep.commands)]
    runs = [one for one in earlier if one.command.split()[:3] == RUN]
    return list(dict.fromkeys([line(folder), *(line(folder, one) for one in runs)]))


def line(folder: SweepFolder, sweep: SweepManifest | None = None) -> str:
    """Return the command that continues the sweep in `folder`: one line that can be pasted into a shell here.

    `sweep` is what its sweep.json holds, with another command where that is asked for.
    """
    try:
        sweep = folder.manifest() if sweep is None else sweep
        parts = shlex.split(sweep.command)
    except (FileNotFoundError, DamagedFile, ValueError):
        return UNKNOWN
    if not parts:
        return UNKNOWN
    if parts[:3] == RUN:
        parts = [*RUN, *_in_place([part for part in parts[3:] if part not in ONCE], sweep, folder.folder)]
    return typed(without_secrets(joined(parts)))


def absent_file(folder: SweepFolder) -> str | None:
    """Say that the experiment file of the last run is not here, where that is so; sweep.json has its text."""
    last = _last_run(folder.manifest())
    file = last.file if last else None
    if not file or not file.endswith(".py") or Path(file).is_file():
        return None
    return f"its experiment file {file} is not here: sweep.json has its text, under experiment_files"


def with_command(
    sweep: SweepManifest, command: str, folder_name: str, file: tuple[str, str] | None = None
) -> SweepManifest:
    """Return sweep.json with a command that changes it, and the text of its experiment file (name, text).

    `folder_name` is that of the folder under runs/ which a command without --out means.
    """
    about: dict[str, str | None] = {"file": None, "file_digest": None}
    texts = dict(sweep.experiment_files)
    if file is not None:
        name, text = file
        text = without_secrets(text)
        about = {"file": name, "file_digest": digest(text)}
        texts[digest(text)] = text
    commands = sweep.commands
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = CommandEntry.model_validate({"at": now, "command": command, "folder_name": folder_name, **about})
    if command and not (commands and commands[-1].model_copy(update={"at": now}) == entry):
        commands = (*commands, entry)
    return sweep.model_copy(update={"commands": commands, "experiment_files": texts})


def one_line(command: str) -> str:
    """Return a command of `command_line` as one line that can be pasted into a shell here."""
    return typed(without_secrets(joined(shlex.split(command))))


def joined(parts: Sequence[str]) -> str:
    """Return the words of a command as one line, also where a word holds line breaks or other control characters."""
    return " ".join(_quoted(part) for part in parts)


def _quoted(part: str) -> str:
    if not CONTROL.search(part):
        return shlex.quote(part)
    # $'...' is what bash, zsh, ksh and POSIX of 2024 read escapes in.
    text = part.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text) + "'"


def _in_place(arguments: list[str], sweep: SweepManifest, folder: Path) -> list[str]:
    """Return arguments whose --out names the folder, and none where they mean it already."""
    kept, out = _without_out(arguments)
    if out is not None:
        meant: Path | None = Path(out)
    else:
        last = _last_run(sweep)
        meant = Path("runs") / last.folder_name if last and last.folder_name else None
    here = folder.resolve()
    if meant is not None and meant.resolve() == here:
        return arguments
    return [*kept, "--out", str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)]


def _last_run(sweep: SweepManifest) -> CommandEntry | None:
    """Return the entry of the command that continues the sweep; None for a sweep from before these were kept."""
    return next((one for one in reversed(sweep.commands) if one.command == sweep.command), None)


def _without_out(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    kept: list[str] = []
    out = None
    rest = iter(arguments)
    for part in rest:
        if part == "--out":
            out = next(rest, None)
        elif part.startswith("--out="):
            out = part.removeprefix("--out=")
        else:
            kept.append(part)
    return kept, out
