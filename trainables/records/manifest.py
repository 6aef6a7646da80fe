"""What sweep.json says of a sweep: what it was asked for, what it stands on, what made it (no torch).

A field that an older sweep lacks has the value that it meant then, and stays out of the file when that is written
again; what a newer version has added is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from trainables.metric_table import DEFAULT
from trainables.records import atomic_files
from trainables.records.typed_document import Document

SCHEMA_VERSION = 1


class SourceEntry(Document):
    """A model or data set as it was found when the sweep began; nothing of the machine that it was found on."""

    requested: str = ""  # what the user called it
    label: str = "?"
    kind: str = ""
    revision: str | None = None
    fingerprint: str | None = None
    stood_in: bool = False


class ModelEntry(SourceEntry):
    """A base model as it was found when the sweep began."""

    fingerprint_scheme: int = 1  # what the fingerprint covers
    own_code: bool = False  # it runs Python files of its folder


class DataEntry(SourceEntry):
    """A data set as it was found and read when the sweep began."""

    report: dict[str, Any] = Field(default_factory=dict)  # what was found in it and left out of it
    sizes: dict[str, int] = Field(default_factory=dict)  # examples of each split
    stamp: str | None = None  # of a local one: where it is equal, so is the content
    rouge_sees_words: bool = True
    mistakes: tuple[str, ...] = ()  # plausible ones, said again without reading the data


class SweepSources(Document):
    """What a sweep stands on ever after: models, data, precision, adapted layers."""

    model: ModelEntry = ModelEntry()  # the first
    models: tuple[ModelEntry, ...] = ()
    data: DataEntry = DataEntry()
    precision: str = ""
    target_modules: tuple[str, ...] | None = None  # in place of the experiment's
    device: str | None = None


class SweepOrigin(Document):
    """The code, the packages and the machine that a sweep was begun with."""

    commit: str | None = None
    python: str | None = None
    system: str | None = None
    packages: dict[str, str | None] = Field(default_factory=dict)
    device: str | None = None
    gpus: tuple[str, ...] = ()
    processor: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    created_at: str | None = None


class CommandEntry(Document):
    """A command that began or changed the sweep, and the experiment file that it named."""

    at: str = ""
    command: str = ""
    folder_name: str | None = None  # under runs/, which a command without --out means
    file: str | None = None
    file_digest: str | None = None


class SweepManifest(Document):
    """The content of sweep.json."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    experiment: str = ""
    requested: dict[str, str] = Field(default_factory=dict)  # model, data and source, as the first command named them
    resolved: SweepSources = SweepSources()
    banner: str | None = None  # where something stands in for what was asked for
    model_hint: dict[str, str] = Field(default_factory=dict)  # folder by label, on the machine of the last run
    data_hint: str = ""
    provenance: SweepOrigin = SweepOrigin()
    tokenization: str | None = None  # None: of before 2026-11-30, its prompts may have been tokenized in parts
    metric: str = DEFAULT
    evaluation: dict[str, Any] = Field(default_factory=dict)  # of EvalConfig
    eval_id: str = ""
    seeds: int = 1
    command: str = ""  # that continues
    commands: tuple[CommandEntry, ...] = ()
    experiment_files: dict[str, str] = Field(default_factory=dict)  # text by digest
    files: dict[str, str] = Field(default_factory=dict)  # checksum by name, of the examples
    trials: dict[str, Any] | None = None  # see `trainables.records.planned_trials`
    pack_width: tuple[dict[str, Any], ...] = ()  # widths that trials ran at
    search: dict[str, Any] | None = None  # `search_spaces.search.as_json`, with "chosen": the sampler and why
    settle: dict[str, Any] | None = None  # what `--settle` was asked, and where it stands


def write(path: Path, manifest: SweepManifest) -> None:
    """Write sweep.json, with the fields that were set and those of newer versions."""
    content = manifest.model_dump(mode="json", by_alias=True, exclude_unset=True)
    atomic_files.write_json(path, {"schema": manifest.schema_version, **content})
