"""What is kept beside a page, so that it is made anew only when something that it shows has changed."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainables.records import atomic_files


class PageNote(BaseModel):
    """The content of `report/page.json`; until 2026-11-30 it named no schema."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_version: int = Field(default=1, alias="schema")
    inputs: str = ""  # digest of all that the page shows
    by: str = ""  # column that its scores are shown by
    alarm: str = ""
    said: tuple[str, ...] = ()  # its first sentences
    files: dict[str, str] = Field(default_factory=dict)  # checksum by name, of the page and what stands beside it


def read_note(path: Path) -> PageNote:
    """Return the note of a page; an empty one where there is none, or it is damaged."""
    try:
        return PageNote.model_validate(atomic_files.read_json_if_whole(path) or {})
    except ValidationError:
        return PageNote()


def write_note(path: Path, note: PageNote) -> None:
    """Write the note of a page."""
    atomic_files.write_json(path, note.model_dump(mode="json", by_alias=True))
