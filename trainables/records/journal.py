"""Journals: JSON lines appended as a trial goes, each with a checksum over itself and all lines before it (no torch).

A line ends in `"sum": "<16 hexadecimal digits>"`, the start of the SHA-256 of the sum before it and of its own text. So
a changed, missing or moved line is found at the next look, and a line that a kill tore costs itself alone. Old sweeps
have lines without sums, which are read as they are up to the first one with a sum.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.records import atomic_files

_ENDING = re.compile(rb', "sum": "([0-9a-f]{16})"\}$')
_ENDING_BYTES = len(b', "sum": "0123456789abcdef"}')


@dataclass
class Chain:
    """The checksum over the lines of a journal that have been read so far."""

    sum: str = ""

    def take(self, line: bytes) -> dict[str, Any]:
        """Return the row of the next line, without its sum; raises ValueError that says what is wrong with it."""
        found = _ENDING.search(line)
        if found is None:
            if self.sum:
                raise ValueError("it has no checksum")
            row = json.loads(line)
        else:
            body = line[: found.start()] + b"}"
            self._check(_sum(self.sum, body), found[1].decode())
            row = json.loads(body)
        if not isinstance(row, dict):
            raise ValueError("it is no object")
        return row

    def _check(self, right: str, written: str) -> None:
        if written != right:
            raise ValueError("its checksum is not the one of its text and the lines before it")
        self.sum = right


@dataclass(frozen=True)
class Journal:
    """What can be read of a journal, and what is wrong with the first line that cannot be."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    fault: str | None = None


def read(path: Path) -> Journal:
    """Read a journal up to the first line that is not as it was written; an absent file has none.

    A last line without its newline was being written when its writer was killed: it is left out without a word.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Journal()
    *lines, torn = content.split(b"\n")
    if not torn and (whole := _whole(content, lines)) is not None:
        return Journal(whole)
    rows, chain = [], Chain()
    for number, line in enumerate([*lines, torn] if torn else lines, start=1):
        try:
            rows.append(chain.take(line))
        except (ValueError, RecursionError) as error:
            if number > len(lines):
                break
            why = "it is no JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else error
            return Journal(rows, f"line {number}: {why}")
    return Journal(rows)


def _whole(content: bytes, lines: list[bytes]) -> list[dict[str, Any]] | None:
    """Return the rows of lines without sums, parsed at once; None where one by one must tell.

    Lines with sums are looked at one by one: but for a running trial, their result vouches for the whole file.
    """
    if b'"sum": "' in content or content.count(b"}\n{") != len(lines) - 1:
        return None
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        return None
    return rows if len(rows) == len(lines) and all(isinstance(row, dict) for row in rows) else None


def append(path: Path, row: dict[str, Any]) -> None:
    """Append one row; a torn last line is cut off first."""
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ENDING_BYTES - 1))
        last = file.read()
        if last and not last.endswith(b"\n"):
            file.seek(0)
            content = file.read()
            size = content.rfind(b"\n") + 1
            file.truncate(size)
            last = content[:size]
        found = _ENDING.search(last.rstrip(b"\n"))
        file.write(_line(found[1].decode() if found else "", row)[0])


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Replace a journal by these rows, atomically."""
    lines, last = [], ""
    for row in rows:
        line, last = _line(last, row)
        lines.append(line)
    atomic_files.write_bytes(path, b"".join(lines))


def _line(before: str, row: dict[str, Any]) -> tuple[bytes, str]:
    body = json.dumps(row, ensure_ascii=False).encode()
    sum_ = _sum(before, body)
    return body[:-1] + f', "sum": "{sum_}"}}\n'.encode(), sum_


def _sum(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()[:16]
