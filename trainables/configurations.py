"""Data sets with several configurations, as a dataset card or folders beside one another have them (no torch).

One is named as NAME:CONFIG. Without a name a card's default is read, as `datasets` does; where there is none the
configurations are listed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import UserError, nearest
from trainables.layout import SPLIT_NAMES, Layout, check_shards, data_files, is_data, split_files, unread_notes

CARD = "README.md"
DEFAULT = "default"
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Configuration:
    """One configuration of a card: `data_files` as it states them, None where names alone tell."""

    name: str
    data_files: Any
    folder: Path
    is_default: bool = False


def parted(name: str) -> tuple[str, str | None]:
    """Return the name of a data set and the configuration behind a colon: 'lab/chats:short'."""
    place, colon, configuration = name.rpartition(":")
    if not colon or not place or "/" in configuration or Path(name).expanduser().exists():
        return name, None
    return place, configuration


def layout_of(folder: Path, wanted: str | None) -> Layout | None:
    """Return the files of a folder's configuration, None where names of files alone tell.

    Raises UserError where there are several and none is named, or the one named is not there.
    """
    found = configurations_of(folder)
    if not found and wanted is None:
        return None
    chosen = found[0] if wanted is None and len(found) == 1 else _choose(folder, found, wanted)
    files = _files_of(chosen)
    if files is None:
        return split_files(chosen.folder) if chosen.folder != folder else None
    others = [one for one in found if one is not chosen]
    read = [path for one in (chosen, *others) for paths in (_files_of(one) or {}).values() for path in paths]
    notes = (f"configurations that are not read: {', '.join(one.name for one in others)}",) if others else ()
    return Layout(_in_order_of_names(folder, files), (*unread_notes(folder, read), *notes))


def configurations_of(folder: Path) -> list[Configuration]:
    """Return the configurations of a card; without a card the folders that hold data where the folder has none."""
    card = _front_matter(folder / CARD).get("configs")
    found = [
        Configuration(str(one["config_name"]), one.get("data_files"), folder, bool(one.get("default")))
        for one in (card if isinstance(card, list) else [])
        if isinstance(one, Mapping) and "config_name" in one
    ]
    if found or data_files(folder):
        return found
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = {name for names in SPLIT_NAMES.values() for name in names}
    return [Configuration(path.name, None, path) for path in inner if path.name not in named and data_files(path)]


def _choose(folder: Path, found: list[Configuration], wanted: str | None) -> Configuration:
    names = [one.name for one in found]
    if wanted is not None:
        if wanted not in names:
            known = nearest(wanted, names) if names else "it has none"
            raise UserError(f"configuration {wanted!r} is not in the data {folder.name!r}; {known}")
        return found[names.index(wanted)]
    marked = [one for one in found if one.is_default] or [one for one in found if one.name == DEFAULT]
    if len(marked) != 1:
        raise UserError(_several(names))
    return marked[0]


def check_one(names: list[str]) -> None:
    """Raise UserError where a data set has several configurations and none of them is the default."""
    if len(names) > 1 and DEFAULT not in names:
        raise UserError(_several(names))


def _several(names: list[str]) -> str:
    return (
        f"the data have {len(names)} configurations ({', '.join(names)}) and one must be named: --data NAME:{names[0]}"
    )


def _files_of(chosen: Configuration) -> dict[str, list[Path]] | None:
    """Return the files that a card gives a configuration; None where it states none, or none that is read here."""
    files: dict[str, list[Path]] = {}
    for split, names in _patterns(chosen.data_files).items():
        called = next((known for known, every in SPLIT_NAMES.items() if split.lower() in every), None)
        paths = [path for name in names for path in _matching(chosen.folder, name)]
        if called and paths:
            files[called] = list(dict.fromkeys(paths))
    return {split: files[split] for split in SPLIT_NAMES if split in files} or None


def _in_order_of_names(folder: Path, files: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Return the files whole, in the order that names alone give where these are the same: it is in fingerprints."""
    for paths in files.values():
        check_shards(paths)
    try:
        named = split_files(folder).files
    except UserError:
        return files
    return named if {split: sorted(paths) for split, paths in files.items()} == named else files


def _patterns(stated: Any) -> dict[str, list[str]]:
    """Return the patterns of each split, however a card spells them."""
    if isinstance(stated, str):
        return {"train": [stated]}
    found: dict[str, list[str]] = {}
    for entry in stated if isinstance(stated, list) else []:
        if isinstance(entry, str):
            found.setdefault("train", []).append(entry)
        elif isinstance(entry, Mapping) and entry.get("path"):
            paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            found.setdefault(str(entry.get("split", "train")), []).extend(map(str, paths))
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the data files of a folder that a card's pattern means; none outside it."""
    if "://" in pattern or pattern.startswith(("/", "~")) or ".." in Path(pattern).parts:
        return []
    return sorted(path for path in folder.glob(pattern) if path.is_file() and is_data(path))


def _front_matter(card: Path) -> dict[str, Any]:
    """Return the YAML that stands above a dataset card's text, empty where there is none that can be read."""
    if not card.is_file():
        return {}
    match = FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff"))
    if not match:
        return {}
    import yaml

    try:
        content = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError):
        return {}
    return dict(content) if isinstance(content, Mapping) else {}
