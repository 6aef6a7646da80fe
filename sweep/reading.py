"""Reading records while engines write them: what was appended since the last look, and what is finished (no torch)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainables.jobs import TrialJob
from trainables.record import TrialRecord


class Tail:
    """Follows a file of JSON lines that is appended to and, where a trial continues, replaced by a shorter one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode: int | None = None
        self._offset = 0

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the whole lines since the last look, and whether they are the first ones of another file."""
        try:
            with self.path.open("rb") as file:
                inode = self.path.stat().st_ino
                replaced = inode != self._inode
                if replaced:
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return [], False
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [row for line in whole.splitlines() if (row := _parsed(line)) is not None], replaced


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None  # torn by a crash; the trial that continues writes it again
    return row if isinstance(row, dict) else None


def is_finished(job: TrialJob) -> bool:
    """Tell whether nothing is left to do: a result, and the evaluation where the training has not failed."""
    record = TrialRecord(Path(job.folder))
    result = record.result()
    if result is None:
        return False
    return result["state"] not in ("done", "stopped") or not record.needs_evaluation(job.trial.eval_id)
