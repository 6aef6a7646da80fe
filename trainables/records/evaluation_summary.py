"""What summary.json says of an evaluation of a trial: how it was made, and the means of its scores (no torch).

A field that an older evaluation lacks has the value that it meant then; what a newer version has added is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from trainables.records import atomic_files
from trainables.records.typed_document import Document

SCHEMA_VERSION = 1


class EvaluationSummary(Document):
    """The content of summary.json."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    eval_id: str = ""
    generation_id: str = ""  # of the part of the evaluation that its texts depend on
    evaluation: dict[str, Any] = Field(default_factory=dict)  # of EvalConfig
    signature: str = ""  # how the scores were made
    decoding: str = ""
    splits: dict[str, dict[str, Any]] = Field(default_factory=dict)  # means by split and name
    wall_s: float | None = None
    evaluated_at: str | None = None
    checksums: dict[str, str] = Field(default_factory=dict)  # of its files of predictions, by name


def write(path: Path, summary: EvaluationSummary) -> None:
    """Write summary.json with the fields that were set."""
    atomic_files.write_json(path, summary.model_dump(mode="json", by_alias=True, exclude_unset=True))
