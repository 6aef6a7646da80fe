"""Reading records while engines write them: what was appended since the last look (no torch)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainables.records.journal import Chain


class JournalTail:
    """Follows a journal that is appended to and, where a trial continues, replaced by a shorter one.

    It ends at a damaged line: the trial that continues cuts its journal there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode: int | None = None
        self._offset = 0
        self._chain: Chain | None = Chain()

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the whole lines since the last look, and whether they are the first ones of another file."""
        try:
            with self.path.open("rb") as file:
                inode = self.path.stat().st_ino
                replaced = inode != self._inode
                if replaced:
                    self._inode, self._offset, self._chain = inode, 0, Chain()
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return [], False
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return self._rows(whole.split(b"\n")[:-1]), replaced

    def _rows(self, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        rows = []
        for line in lines:
            if self._chain is None:
                break
            try:
                rows.append(self._chain.take(line))
            except (ValueError, RecursionError):
                self._chain = None
        return rows
