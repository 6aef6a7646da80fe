"""Which files of a trial are not as they were written; nothing is changed by looking (no torch)."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from trainables.records import atomic_files, journal, typed_document
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.typed_document import Document

IN_PLAN = "; it is read from the plan in sweep.json"
HASHED_BYTES = 64 * 2**20  # of an adapter: what a run's look at a finished sweep reads in some 50 ms
Read = Callable[[Path], journal.Journal]
Faults = dict[str, str]
"""Name of a file within the trial's folder -> what is wrong with it."""


def faults_of(
    record: TrialRecord, identity: str | None = None, most_bytes: float = 0, read: Read = journal.read
) -> Faults:
    """Return what is wrong with a trial's files, those of evaluation `identity` included.

    Weights of an adapter of more than `most_bytes` are looked at by their size alone. `read` is for a caller that
    reads the journals too, and each once.
    """
    result = record.result()
    found = _config(record) | _document(record, record.result_path, TrialResult)
    if identity is not None:
        found |= evaluation_faults(record, identity)
    return {**found, **_journals(record, result, read), **adapter_faults(record, most_bytes)}


def told(faults: Faults) -> str:
    """Return faults as one part of a sentence."""
    return "; ".join(f"{name} {why}" for name, why in faults.items())


def hides_score(record: TrialRecord, faults: Faults) -> bool:
    """Tell whether a trial may have ended with a score that cannot be read any more, or only without its settings."""
    if record.result_path.name in faults:
        return True
    why = faults.get(record.config_path.name, IN_PLAN)
    if why.endswith(IN_PLAN) and not any(name.startswith("evals/") for name in faults):
        return False
    result = record.result()
    return result is not None and result.is_trained


def evaluation_faults(record: TrialRecord, identity: str) -> Faults:
    """Return what is wrong with an evaluation; nothing where there is none."""
    path = record.summary_path(identity)
    summary = typed_document.read_if_whole(path, EvaluationSummary)
    found = {} if summary else _document(record, path, EvaluationSummary)
    for name, checksum in (summary.checksums if summary else {}).items():
        predictions = path.with_name(name)
        if not predictions.exists():
            found[_name(record, predictions)] = "is gone"
        elif atomic_files.sha256_of(predictions) != checksum:
            found[_name(record, predictions)] = "is damaged: its checksum is not the recorded one"
    return found


def adapter_faults(record: TrialRecord, most_bytes: float = math.inf) -> Faults:
    """Return what is wrong with the adapter that the result names; weights of more bytes are not hashed."""
    result = record.result()
    if result is None or not result.adapter_sha256:
        return {}
    known = dict(result.adapter_files or {})  # a sweep from before these were kept has the weights alone
    weights = record.weights_path
    is_hashed = weights.is_file() and weights.stat().st_size <= most_bytes
    if is_hashed:
        known[weights.name] = result.adapter_sha256
    found = {}
    for name, checksum in known.items():
        path = record.adapter_folder / name
        if not path.is_file():
            found[_name(record, path)] = "is gone"
        elif atomic_files.sha256_of(path) != checksum:
            found[_name(record, path)] = "is damaged: its checksum is not the recorded one"
    if not weights.is_file():
        found[_name(record, weights)] = "is gone"
    elif not is_hashed and weights.stat().st_size != result.adapter_bytes:
        found[_name(record, weights)] = "is damaged: its size is not the recorded one"
    return found


def adapter_is_whole(record: TrialRecord) -> bool:
    """Tell whether the adapter that the result names is there as it was written; True where it names none.

    Weights of up to 64 MiB are compared by checksum, larger ones by their size alone.
    """
    return not adapter_faults(record, HASHED_BYTES)


def _config(record: TrialRecord) -> Faults:
    path = record.config_path
    found = _named(record, path, atomic_files.damage_of(path)) if path.exists() else {path.name: "is gone"}
    if not found:
        return {}
    try:
        record.config()
    except (FileNotFoundError, atomic_files.DamagedFile):
        return found
    return {name: f"{why}{IN_PLAN}" for name, why in found.items()}


def _document(record: TrialRecord, path: Path, kind: type[Document]) -> Faults:
    return _named(record, path, typed_document.damage_of(path, kind))


def _named(record: TrialRecord, path: Path, why: str | None) -> Faults:
    return {_name(record, path): why.removeprefix(f"{path} ")} if why else {}


def _journals(record: TrialRecord, result: TrialResult | None, read: Read) -> Faults:
    found = {}
    for path in record.journals:
        ended = ((result.journals if result else None) or {}).get(path.name)
        if ended and path.exists() and atomic_files.sha256_of(path) == ended:
            why = None
        else:
            lines = read(path)
            why = lines.fault or ("it is not as the trial left it" if ended else None)
            why = why and f"{why}; {len(lines.rows)} of its lines are read"
        if why:
            found[path.name] = f"is damaged: {why}"
        elif kept := sorted(path.parent.glob(f"{path.name}*.damaged")):
            found[path.name] = f"was cut back where it was damaged; {kept[0].name} holds what was there"
    return found


def _name(record: TrialRecord, path: Path) -> str:
    return path.relative_to(record.folder).as_posix()
