"""The folders that `datasets` writes by save_to_disk: one data set, or a dictionary of splits (no torch)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainables.data.folder_layout import SPLIT_NAMES, UNSPLIT, Layout
from trainables.errors import UserError

ONE, SEVERAL = "state.json", "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Tell whether `save_to_disk` wrote a folder."""
    return (folder / SEVERAL).is_file() or ((folder / ONE).is_file() and any(folder.glob("*.arrow")))


def split_files(folder: Path) -> Layout:
    """Return the arrow files of each split in the order that the folder itself states."""
    if not (folder / SEVERAL).is_file():
        return Layout({UNSPLIT: _files(folder)})
    names = _json_of(folder / SEVERAL).get("splits", [])
    found: dict[str, list[Path]] = {}
    unread = []
    for name in names:
        split = next((split for split, known in SPLIT_NAMES.items() if str(name).lower() in known), None)
        if split is None or split in found:
            unread.append(str(name))
        else:
            found[split] = _files(folder / str(name))
    if not found:
        raise UserError(f"{folder} has no split named train, validation or test; found: {', '.join(map(str, names))}")
    notes = (f"splits that are not read: {', '.join(unread)}",) if unread else ()
    return Layout({split: found[split] for split in SPLIT_NAMES if split in found}, notes)


def _files(folder: Path) -> list[Path]:
    state = _json_of(folder / ONE)
    if state.get("_indices_data_files"):
        raise UserError(f"{folder} is a selection of rows: save it again after `dataset.flatten_indices()`")
    paths = [folder / Path(str(entry["filename"])).name for entry in state.get("_data_files", [])]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{folder} is not whole: {', '.join(missing)} is missing")
    return paths


def _json_of(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a valid JSON object ({error})") from None
