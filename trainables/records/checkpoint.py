"""Checkpoints of one trial: safetensors and JSON, whole or found out, never a pickle.

checkpoint/step-00016/  adapter.safetensors, optimizer.safetensors, best.safetensors (keep_checkpoint=best), state.json
The JSON is written last into a temporary folder and holds the others' checksums; then the folder is renamed. Of two
kept, a damaged one is set aside and the one before continues the trial.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from trainables.records import atomic_files
from trainables.records.lineage import is_pinned
from trainables.records.record import TrialRecord

KEPT = 2
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to continue a trial after `step` optimizer steps."""

    step: int
    adapter: Tensors
    optimizer: Tensors = field(default_factory=dict)
    optimizer_numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)  # the adapter of the lowest evaluation loss, where that is kept
    facts: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(record: TrialRecord, checkpoint: Checkpoint) -> None:
    """Commit a checkpoint and drop those before the last two."""
    record.fence()
    parent = record.checkpoint_folder
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".step-"))
    temporary.chmod(0o755)
    try:
        checksums = {}
        for name in ("adapter", "optimizer", "best"):
            path = temporary / f"{name}.safetensors"
            atomic_files.write_bytes(path, save(getattr(checkpoint, name)))
            checksums[path.name] = atomic_files.sha256_of(path)
        state = {
            "step": checkpoint.step,
            "optimizer_numbers": checkpoint.optimizer_numbers,
            "facts": checkpoint.facts,
            "checksums": checksums,
        }
        atomic_files.write_json(temporary / "state.json", state)
        record.fence()
        target = record.checkpoint_path(checkpoint.step)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
        atomic_files.sync_folder(parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _remove(_folders(record)[:-KEPT])


def latest_checkpoint(record: TrialRecord) -> Checkpoint | None:
    """Return the last whole checkpoint, None without any; damaged ones are set aside, torn ones removed."""
    if not record.checkpoint_folder.is_dir():
        return None
    for torn in record.checkpoint_folder.glob(".step-*"):
        shutil.rmtree(torn, ignore_errors=True)
    for folder in reversed(_folders(record)):
        try:
            return _read(folder)
        except (atomic_files.DamagedFile, FileNotFoundError, SafetensorError):
            atomic_files.set_aside(folder)
    return None


def drop_checkpoints(record: TrialRecord) -> None:
    """Remove the checkpoints of a finished trial: its adapter is kept and its training never runs again.

    Those that another trial may come for are left to the scheduler of the sweep.
    """
    record.fence()
    if not _remove(_folders(record)):
        shutil.rmtree(record.checkpoint_folder, ignore_errors=True)


def _remove(folders: list[Path]) -> list[Path]:
    """Remove these checkpoints but for those that are pinned, which are returned."""
    pinned = [folder for folder in folders if is_pinned(folder)]
    for folder in folders:
        if folder not in pinned:
            shutil.rmtree(folder, ignore_errors=True)
    return pinned


def _read(folder: Path) -> Checkpoint:
    state = atomic_files.read_json(folder / "state.json")
    tensors = {}
    for name, checksum in state["checksums"].items():
        path = folder / name
        if atomic_files.sha256_of(path) != checksum:
            raise atomic_files.DamagedFile(f"{path} is damaged: its checksum does not match")
        tensors[path.stem] = load(path.read_bytes())
    return Checkpoint(
        step=state["step"],
        optimizer_numbers=state["optimizer_numbers"],
        facts=state["facts"],
        **tensors,
    )


def _folders(record: TrialRecord) -> list[Path]:
    found = record.checkpoint_folder.glob("step-*")
    return sorted(path for path in found if path.is_dir() and not path.name.endswith(".damaged"))
