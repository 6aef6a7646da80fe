"""Sweeps by their names under runs/: listed where none is named, found by every verb, never looked for elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweep import report, status
from trainables.records.manifest import DataEntry, ModelEntry, SweepManifest, SweepSources
from trainables.records.record import SweepFolder

SWEEP = SweepManifest(
    experiment="one",
    eval_id="0",
    resolved=SweepSources(model=ModelEntry(label="pocket-gpt2"), data=DataEntry(label="pocket-chats")),
)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    SweepFolder(tmp_path / "runs" / "one").write_manifest(SWEEP)
    return tmp_path / "runs"


def test_status_without_a_run_lists_the_runs(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    assert status.main([]) == 0
    said = capsys.readouterr().out
    assert "runs/one" in said
    assert "0 of 0 trials ended; pocket-gpt2 on pocket-chats" in said
    assert status.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sweeps"][0]["folder"] == "runs/one"
    assert status.main(["one"]) == 0
    (runs / "one" / "sweep.json").unlink()
    capsys.readouterr()
    assert status.main([]) == 0
    assert "There is no sweep under runs/; start one: python -m sweep.run" in capsys.readouterr().out


def test_a_wrong_name_or_path_names_the_sweeps_under_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (status, report):
        for wrong in ("oen", "/no/such/place"):
            assert verb.main([wrong]) == 2
            said = " ".join(capsys.readouterr().err.split())
            assert f"there is no sweep '{wrong}'" in said
            assert said.endswith("known: runs/one")
            assert "/tmp" not in said.replace(wrong, "")
