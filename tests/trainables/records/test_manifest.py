"""What sweep.json says of a sweep: older ones are read with what they meant, newer ones lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder
from trainables.records.typed_document import read

OLD: dict[str, Any] = {
    "schema": 1,
    "experiment": "own",
    "resolved": {"model": {"label": "m", "kind": "local"}, "models": [{"label": "m"}], "data": {"label": "d"}},
    "eval_id": "0",
    "command": "python -m sweep.run own.py",
}


def rewritten(folder: SweepFolder, content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    atomic_files.write_json(folder.sweep_path, content)
    folder.write_manifest(folder.manifest().model_copy(update=changes))
    return atomic_files.read_json(folder.sweep_path)


def test_what_an_older_sweep_lacks_has_its_meaning_of_then_and_stays_out_of_the_file(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert rewritten(folder, OLD) == OLD
    found = folder.manifest()
    assert (found.tokenization, found.commands, found.trials) == (None, (), None)
    assert (found.resolved.models[0].fingerprint_scheme, found.resolved.data.rouge_sees_words) == (1, True)


def test_what_a_newer_sweep_has_more_is_kept_at_every_depth(tmp_path: Path) -> None:
    data = {"label": "d", "licence": "MIT"}
    newer = {**OLD, "schema": 2, "resolved": {**OLD["resolved"], "data": data, "adapter": [1]}, "notes": {"a": None}}
    assert rewritten(SweepFolder(tmp_path), newer, metric="chrf") == {**newer, "metric": "chrf"}


def test_a_field_of_another_kind_is_damage_that_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    atomic_files.write_json(path, {**OLD, "resolved": {"data": "d"}})
    with pytest.raises(atomic_files.DamagedFile, match=r"sweep\.json is damaged: resolved\.data: it is no object"):
        read(path, SweepManifest)
