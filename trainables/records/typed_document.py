"""Documents on disk as frozen types: fields that an older one lacks have defaults, those of a newer one are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from trainables.records import atomic_files


class Document(BaseModel):
    """What documents and their parts have in common; infinities and NaN are written as what they are."""

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, protected_namespaces=(), ser_json_inf_nan="constants"
    )


Kind = TypeVar("Kind", bound=Document)


def read(path: Path, kind: type[Kind]) -> Kind:
    """Read a document; raises FileNotFoundError, or DamagedFile naming the file and the first field that is wrong."""
    content = atomic_files.read_json(path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "it is no object" if first["type"] == "model_type" else first["msg"]
        raise atomic_files.DamagedFile(f"{path} is damaged: {where}: {what}") from None


def read_if_whole(path: Path, kind: type[Kind]) -> Kind | None:
    """Read a document; None where it is absent or damaged, which `damage_of` tells apart."""
    try:
        return read(path, kind)
    except (FileNotFoundError, atomic_files.DamagedFile):
        return None


def damage_of(path: Path, kind: type[Document]) -> str | None:
    """Say what is wrong with a document; None where it is whole or absent."""
    try:
        read(path, kind)
    except FileNotFoundError:
        return None
    except atomic_files.DamagedFile as error:
        return str(error)
    return None
