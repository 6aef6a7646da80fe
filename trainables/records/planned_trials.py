"""What sweep.json says of every trial, so that a damaged `config.json` can be read from there (no torch).

Fields of the training that all trials share are kept once: a thousand trials take some 150 kB.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.typed_document import read


def packed(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of config.json by folder name as it stands in sweep.json under `trials`."""
    trains = [config["train"] for config in configs.values()]
    first = trains[0] if trains else {}
    shared = {key: value for key, value in first.items() if all(key in one and one[key] == value for one in trains[1:])}
    each = {}
    for name, config in configs.items():
        own = {key: value for key, value in config["train"].items() if key not in shared}
        each[name] = {**config, "train": own}
    return {"shared": shared, "each": each}


def unpacked(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the content of config.json by folder name from what sweep.json has under `trials`."""
    return {name: {**config, "train": {**kept["shared"], **config["train"]}} for name, config in kept["each"].items()}


def config_of(folder: Path) -> dict[str, Any] | None:
    """Return what the config.json in a trial's folder was written from, None where its sweep does not say."""
    try:
        kept = read(folder.parent.parent / "sweep.json", SweepManifest).trials
    except (FileNotFoundError, atomic_files.DamagedFile):
        return None
    return unpacked(kept).get(folder.name) if kept else None  # a sweep from before this was kept says nothing
