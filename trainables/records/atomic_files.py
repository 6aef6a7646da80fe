"""Atomic, checksummed files: whole after any crash, or found out (no torch).

A JSON document is written with a `sha256` of its other content, by temporary file, fsync and rename. A document that is
there but not whole counts as absent; reading leaves it as it is, whoever writes it anew sets it aside as `*.damaged`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class DamagedFile(RuntimeError):
    """A file whose checksum or syntax is wrong."""


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make what was appended to a file durable; nothing where there is none."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` atomically and durably."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON document with its own checksum."""
    body = {key: value for key, value in content.items() if key != "sha256"}
    write_text(path, json.dumps({**body, "sha256": _checksum(body)}, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a document of write_json; raises FileNotFoundError, or DamagedFile naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged: it is no whole JSON document: {error}") from None
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is damaged: it is no JSON object")
    if "sha256" not in content:
        raise DamagedFile(f"{path} is damaged: its checksum is missing")
    if content.pop("sha256") != _checksum(content):
        raise DamagedFile(f"{path} is damaged: its checksum does not match its content")
    return dict(content)


def read_json_if_whole(path: Path) -> dict[str, Any] | None:
    """Read a document; None where it is absent or damaged, which `damage_of` tells apart."""
    try:
        return read_json(path)
    except (FileNotFoundError, DamagedFile):
        return None


def damage_of(path: Path) -> str | None:
    """Say what is wrong with a document; None where it is whole or absent."""
    try:
        read_json(path)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        return str(error)
    return None


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Write a document where there may be another; a damaged one is kept as `*.damaged`."""
    if damage_of(path):
        set_aside(path)
    write_json(path, content)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder to a free `*.damaged` name and return that."""
    target = free_name(path)
    os.replace(path, target)
    return target


def free_name(path: Path) -> Path:
    """Return a `*.damaged` name for a file or folder that nothing has yet."""
    number = 0
    while (target := path.with_name(f"{path.name}{f'.{number}' if number else ''}.damaged")).exists():
        number += 1
    return target


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line; a crash can tear the last line alone, which read_lines leaves out."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines up to the first torn one; an absent file has none."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
