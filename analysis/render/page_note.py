"""What is kept beside a page, so that it is made anew only when something that it shows has changed."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trainables.records import atomic_files
from trainables.records.typed_document import Document, read_if_whole


class PageNote(Document):
    """The content of `report/page.json`; until 2026-11-30 it named no schema."""

    schema_version: int = Field(default=1, alias="schema")
    inputs: str = ""  # digest of all that the page shows
    by: str = ""  # column that its scores are shown by
    alarm: str = ""
    said: tuple[str, ...] = ()  # its first sentences
    files: dict[str, str] = Field(default_factory=dict)  # checksum by name, of the page and what stands beside it


def read_note(path: Path) -> PageNote:
    """Return the note of a page; an empty one where there is none, or it is damaged."""
    return read_if_whole(path, PageNote) or PageNote()


def write_note(path: Path, note: PageNote) -> None:
    """Write the note of a page."""
    atomic_files.write_json(path, note.model_dump(mode="json", by_alias=True))
