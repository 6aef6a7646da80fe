"""What result.json says of a trial: how it ended, what it trained on, and what it took (no torch).

A field that an older trial lacks has the value that it meant then, and stays out of the file when that is written
again; what a newer version has added is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from trainables.records import atomic_files
from trainables.records.trial_states import ENDED, TRAINED, TrialState
from trainables.records.typed_document import Document

SCHEMA_VERSION = 1


class TrialResult(Document):
    """The content of result.json."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    state: TrialState
    cause: str | None = None  # in one line, of a trial that failed
    engine: str = ""
    device: str | None = None
    precision: str | None = None
    steps: int | None = None
    skipped_steps: int | None = None  # by fp16's loss scaling
    kept_step: int | None = None  # whose weights the adapter has
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    adapter_bytes: int | None = None
    adapter_sha256: str | None = None
    adapter_files: dict[str, str] | None = None  # checksum by name, of the files beside the weights
    train_loss: float | None = None
    train_examples_used: int | None = None
    train_examples_dropped: int | None = None
    train_sources_cut: int | None = None
    tokens_trained: int | None = None
    train_s: float | None = None
    evaluate_s: float | None = None
    wall_s: float | None = None
    seconds_per_step: float | None = None
    peak_memory_bytes: int | None = None
    device_share: float | None = None
    packmates: tuple[str, ...] = ()  # trials that shared its pack
    pack_width: dict[str, Any] | None = None
    narrowed_to: dict[str, int] | None = None  # by memory
    restarts: int | None = None
    first_eval_id: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    journals: dict[str, str] | None = None  # checksum by name, as they were at the end

    @field_validator("state")
    @classmethod
    def _has_ended(cls, state: TrialState) -> TrialState:
        if state not in ENDED:
            raise ValueError(f"a result has a state of {', '.join(sorted(ENDED))}, not {state}")
        return state

    @property
    def is_trained(self) -> bool:
        """Tell whether its weights are to be kept and evaluated."""
        return self.state in TRAINED

    def content(self) -> dict[str, Any]:
        """Return the fields that were set, and those of newer versions, as the file has them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def write(path: Path, result: TrialResult) -> None:
    """Write result.json; a damaged one is set aside."""
    atomic_files.replace_json(path, {"schema": SCHEMA_VERSION, **result.content()})
