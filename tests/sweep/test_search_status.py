"""How far a search is, as `sweep status` says it: points that the sweep holds, of those asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from searched import end, experiment, new_sweep, opened

from search_spaces.search import as_json
from sweep import status
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder


def said(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> str:
    status._print(status.sweep_status(folder))
    return capsys.readouterr().out


def test_points_to_come_are_counted_and_leave_something_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_sweep(tmp_path / "sweep")
    searched = experiment(trials=3)
    assert searched.search is not None
    manifest = {"experiment": "searched", "search": as_json(searched.search), "command": "python -m sweep.run again"}
    folder.write_manifest(SweepManifest(**{**manifest, "evaluation": searched.evaluation.model_dump(mode="json")}))
    study = opened(folder.folder, searched)
    for _ in range(2):
        job = study.ask()
        assert job is not None
        end(job)
    found = status.sweep_status(folder)
    assert found.search == status.PointsHeld(held=2, trials=3, to_come=1)
    assert found.is_left
    printed = said(folder, capsys)
    assert "search: 2 of 3 points have been chosen" in printed
    assert "-m sweep.run again" in printed
    end(study.ask())  # type: ignore[arg-type]
    assert status.sweep_status(folder).search == status.PointsHeld(3, 3, 0)
    small = replace(searched.search, trials=2)
    folder.write_manifest(folder.manifest().model_copy(update={"search": as_json(small)}))
    assert status.sweep_status(folder).search == status.PointsHeld(3, 2, 0)
