"""What a dataset card states of a data set's configurations, and the folders that are configurations without one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.data.folder_layout import SPLIT_NAMES, data_files, is_sweep

CARD = "README.md"
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Configuration:
    """One configuration: its folder, and the patterns of each split as a card states them, none where names tell."""

    name: str
    folder: Path
    patterns: dict[str, list[str]] = field(default_factory=dict)
    is_default: bool = False


def configurations_of(folder: Path) -> list[Configuration]:
    """Return the configurations of a card; without a card the folders that hold data where the folder has none."""
    card = _front_matter(folder / CARD).get("configs")
    found = [
        _stated(folder, one)
        for one in (card if isinstance(card, list) else [])
        if isinstance(one, Mapping) and "config_name" in one
    ]
    if found or data_files(folder):
        return found
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = {name for names in SPLIT_NAMES.values() for name in names}
    return [
        Configuration(path.name, path)
        for path in inner
        if path.name not in named and data_files(path) and not is_sweep(path)
    ]


def is_outside(pattern: str) -> bool:
    """Tell whether a pattern leads out of its folder: a card is no reason to read there."""
    return "://" in pattern or pattern.startswith(("/", "~")) or ".." in Path(pattern).parts


def _stated(folder: Path, one: Mapping[str, Any]) -> Configuration:
    patterns, place = _patterns(one.get("data_files")), folder
    if inner := str(one.get("data_dir") or ""):
        if not is_outside(inner) and (folder / inner).is_dir():
            place = folder / inner
        else:  # what it states is then missing, and said to be
            patterns = {"train": [f"{inner}/*"]}
    return Configuration(str(one["config_name"]), place, patterns, bool(one.get("default")))


def _patterns(stated: Any) -> dict[str, list[str]]:
    """Return the patterns of each split, however a card spells them."""
    if isinstance(stated, str):
        return {"train": [stated]}
    if isinstance(stated, Mapping):
        stated = [{"split": split, "path": path} for split, path in stated.items()]
    found: dict[str, list[str]] = {}
    for entry in stated if isinstance(stated, list) else []:
        if isinstance(entry, str):
            found.setdefault("train", []).append(entry)
        elif isinstance(entry, Mapping) and entry.get("path"):
            paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            found.setdefault(str(entry.get("split", "train")), []).extend(map(str, paths))
    return found


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
