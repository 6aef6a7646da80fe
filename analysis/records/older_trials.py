"""Trials of before 2026-11-30, whose prompts were tokenized in parts: never in one table with those of one text."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.records.table import ResultRow, ResultTable
from trainables.config import TrainConfig
from trainables.prompts import PROMPTS
from trainables.records.manifest import SweepSources


def is_older(train: TrainConfig | None, resolved: SweepSources) -> bool:
    """Tell whether a trial read other ids than its prompts have now: the bundled texts have the same either way."""
    if train is None or train.tokenization != "parts":
        return False
    is_bundled = all(base.kind == "bundled" for base in (*resolved.models, resolved.data))
    return not (is_bundled and train.prompt_template in PROMPTS.values())


def set_apart(rows: Sequence[ResultRow], resolved: SweepSources) -> tuple[list[ResultRow], int]:
    """Return the rows that belong into one table, and how many older ones are left out, or are all that there is."""
    older = [row for row in rows if is_older(row.train, resolved)]
    newer = any(row.train and row.train.tokenization != "parts" for row in rows)
    return ([row for row in rows if row not in older] if newer else list(rows)), len(older)


def is_all(table: ResultTable) -> bool:
    """Tell whether a table is of such trials alone."""
    return bool(table.older) and all(row.train is None or row.train.tokenization == "parts" for row in table.rows)


def sentences(table: ResultTable) -> list[str]:
    """Say what was left out, or that the whole table is of before."""
    if not table.older:
        return []
    if is_all(table):
        return [
            "Instruction, source and cue of these trials were tokenized apart, as until 2026-11-30: whoever sends the "
            "text of a prompt may get other ids, and other summaries; running the sweep trains them anew, beside these."
        ]
    trials = "trial is" if table.older == 1 else "trials are"
    return [
        f"{table.older} {trials} left out: until 2026-11-30 prompts were tokenized in parts, which may "
        "give other ids than the text of the prompt has; their records are kept, nothing here is compared with them."
    ]
