"""A trial that population-based training changed: its lineage, and how it takes over another's checkpoint (no torch).

Jaderberg et al. 2017, arXiv:1711.09846: now and then a poor trial continues from a good one's weights with other knobs.
The trial keeps its name and its `config.json`; `lineage.jsonl` has a line per change, and a checkpoint says how many of
them it includes. A change holds when the checkpoint that begins it is there: a line beyond that is dropped on resume.

The files of a checkpoint that others may come for carry a pin beside them and stay until it is gone:
`step-00008.pin` while the trial is at that step for its scheduler, `step-00008.pin-<trial>` until that trial has it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainables.config import TrainConfig, configured
from trainables.jobs import Control, Interrupted
from trainables.records import atomic_files, journal
from trainables.records.record import SweepFolder, TrialRecord

PATIENCE_S = 60.0  # for the donor to write the checkpoint, which it does right after it was judged
POLL_S = 0.02


@dataclass(frozen=True)
class Change:
    """Change number `number` of a trial: go on from the checkpoint of `donor` (a trial's folder) with `values`."""

    number: int
    donor: str
    donor_step: int
    values: dict[str, float]


# --- the record of changes -------------------------------------------------------------------------------------------


def trained_with(train: TrainConfig, lineage: Iterable[dict[str, Any]]) -> TrainConfig:
    """Return the configuration that a trial trains with after these changes."""
    values = {key: value for line in lineage for key, value in line["new"].items()}
    return configured(TrainConfig, {**train.model_dump(), **values}) if values else train


def settle(record: TrialRecord, changes: int) -> list[dict[str, Any]]:
    """Return the lineage up to change number `changes`, which the trial's state includes; drop later lines.

    Raises DamagedFile where that change cannot be read any more: the trial would go on with other knobs.
    """
    lines = record.lineage()
    kept = [line for line in lines if line["number"] <= changes]
    if changes and not any(line["number"] == changes for line in kept):
        raise atomic_files.DamagedFile(f"{record.lineage_path.name} is damaged: it does not hold change {changes}")
    if len(kept) < len(lines):
        record.fence()
        journal.write(record.lineage_path, kept)
    return kept


def sentence(line: dict[str, Any]) -> str:
    """Say what a change was: "step 8: weights of B at step 8, learning_rate 1e-09 to 0.004".

    A folder's name has the letter of its configuration, and a donor has the seed of the trial that it changed.
    """
    donor = line["donor"].split("-")[1]
    moved = [
        f"{key} {line['old'][key]:.3g} to {new:.3g}" for key, new in line["new"].items() if new != line["old"][key]
    ]
    return ", ".join((f"step {line['step']}: weights of {donor} at step {line['donor_step']}", *moved))


# --- pins ------------------------------------------------------------------------------------------------------------


def is_pinned(checkpoint: Path) -> bool:
    """Tell whether another trial may come for this checkpoint."""
    return any(checkpoint.parent.glob(f"{checkpoint.name}.pin*"))


def pin(record: TrialRecord, step: int, trial: str = "") -> None:
    """Keep the checkpoint at `step`, which may not be there yet, for `trial` or for whichever may be told to take it.

    The latter moves on with the trial: its pins at other steps are removed.
    """
    record.checkpoint_folder.mkdir(parents=True, exist_ok=True)
    path = _pin(record, step, trial)
    path.touch()
    if not trial:
        for old in record.checkpoint_folder.glob("step-*.pin"):
            if old != path:
                old.unlink(missing_ok=True)


def _pin(record: TrialRecord, step: int, trial: str) -> Path:
    path = record.checkpoint_path(step)
    return path.with_name(f"{path.name}.pin{f'-{trial}' if trial else ''}")


def release(folder: SweepFolder) -> None:
    """Remove every pin of a sweep, and the checkpoints of finished trials that were kept for others."""
    for record in folder.records():
        pins = list(record.checkpoint_folder.glob("step-*.pin*"))
        if pins:
            record.fence()
        for path in pins:
            path.unlink(missing_ok=True)
        if pins and record.result_path.exists():
            shutil.rmtree(record.checkpoint_folder, ignore_errors=True)


# --- taking over -----------------------------------------------------------------------------------------------------


def adopt(record: TrialRecord, change: Change, control: Control, patience_s: float = PATIENCE_S) -> bool:
    """Replace the state of a trial by its donor's; the next start from its checkpoint goes on from there.

    Its own are the name, the data, the prompt, the seed and the seconds it took. Returns False where nothing was
    changed: it has this change already, or the donor's checkpoint is nowhere to be found. Raises Interrupted.
    """
    own = _newest_state(record)
    facts = own.get("facts", {})
    done = int(facts.get("changes", 0))
    if done >= change.number:
        return False
    lineage = settle(record, done)
    donor = TrialRecord(record.folder.parent / change.donor, record.fence)
    record.checkpoint_folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=record.checkpoint_folder, prefix=".step-"))
    temporary.chmod(0o755)
    try:
        given = _wait_for_copy(donor.checkpoint_path(change.donor_step), temporary, control, patience_s)
        _pin(donor, change.donor_step, record.folder.name).unlink(missing_ok=True)
        if given is None:
            return False
        step = int(own.get("step", 0))
        # The trial's own clocks, of steps as if it had taken as many as its weights have seen.
        clocks = {
            "train_s": facts.get("train_s", 0.0),
            "steps_s": facts.get("steps_s", 0.0) * change.donor_step / max(1, step),
            "started_at": facts.get("started_at", ""),
            "restarts": facts.get("restarts", 0) - 1,  # the start that follows is no continuation after a fault
            "changes": change.number,
        }
        atomic_files.write_json(temporary / "state.json", {**given, "facts": {**given["facts"], **clocks}})
        _fill_curves(record, donor, step, change.donor_step)
        _wait_for_others(record, control, patience_s)
        before = trained_with(record.train_config(), lineage)
        record.fence()
        journal.append(
            record.lineage_path,
            {
                "number": change.number,
                "step": step,
                "donor": change.donor,
                "donor_step": change.donor_step,
                "old": {key: getattr(before, key) for key in change.values},
                "new": change.values,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        _replace(record, temporary, change.donor_step)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _wait_for_copy(source: Path, target: Path, control: Control, patience_s: float) -> dict[str, Any] | None:
    """Copy a checkpoint's tensors into `target` and return its state, None where it does not come."""
    until = time.monotonic() + patience_s
    while True:
        try:
            state = atomic_files.read_json(source / "state.json")
            for name, checksum in state["checksums"].items():
                shutil.copyfile(source / name, target / name)
                if atomic_files.sha256_of(target / name) != checksum:
                    raise atomic_files.DamagedFile(str(source / name))
            return state
        except (FileNotFoundError, atomic_files.DamagedFile):  # not yet written, or just being written anew
            if time.monotonic() > until:
                return None
        _sleep(control)


def _wait_for_others(record: TrialRecord, control: Control, patience_s: float) -> None:
    """Wait until those have their copies that were told to take over this trial's own state."""
    until = time.monotonic() + patience_s
    while any(record.checkpoint_folder.glob("step-*.pin-*")) and time.monotonic() < until:
        _sleep(control)


def _sleep(control: Control) -> None:
    if control() == "interrupt":
        raise Interrupted("interrupted while waiting for the checkpoint of another trial")
    time.sleep(POLL_S)


def _fill_curves(record: TrialRecord, donor: TrialRecord, step: int, donor_step: int) -> None:
    """Where the donor is ahead, the curves go on with its lines, which say so."""
    for row in donor.metrics():
        if step < row["step"] <= donor_step:
            record.append_metrics({**row, "of": donor.folder.name})


def _replace(record: TrialRecord, temporary: Path, step: int) -> None:
    """Make a checkpoint the trial's last one; killed in between, the trial goes on from what it had before."""
    record.fence()
    target = record.checkpoint_path(step)
    for later in _folders(record):
        if later.name >= target.name:
            shutil.rmtree(later)
    os.replace(temporary, target)
    atomic_files.sync_folder(record.checkpoint_folder)


def _newest_state(record: TrialRecord) -> dict[str, Any]:
    """Return step and facts of the last checkpoint that can be read, nothing without any."""
    for folder in reversed(_folders(record)):
        try:
            return atomic_files.read_json(folder / "state.json")
        except (FileNotFoundError, atomic_files.DamagedFile):
            continue
    return {}


def _folders(record: TrialRecord) -> Sequence[Path]:
    return sorted(path for path in record.checkpoint_folder.glob("step-*") if path.is_dir() and "." not in path.name)
