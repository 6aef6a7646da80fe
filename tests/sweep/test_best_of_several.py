"""`sweep best` where several objectives leave a Pareto set: what it prints, and how one of it is exported by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from searches_on_disk import LITTLE, drawn, space, trials_of, write_search

from analysis.compare import compare
from sweep.cli import main
from trainables.records import atomic_files
from trainables.records.record import SweepFolder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of four points with two objectives, the last in its Pareto set with an adapter."""
    one = space(trials=4, objectives=("rougeL", "-runtime_s"))
    trials = trials_of(drawn(one, 4))
    for trial, seconds in zip(trials, (50, 60, 40, 45), strict=True):
        trial.result["wall_s"] = seconds
    folder = write_search(tmp_path_factory.mktemp("several"), one, trials, evaluation=LITTLE)
    for record in SweepFolder(folder).records():
        result = record.result()
        assert result
        record.adapter_folder.mkdir()
        save_file({"a": np.ones((2, 2), np.float32)}, record.weights_path)
        atomic_files.write_text(record.adapter_folder / "adapter_config.json", '{"base_model_name_or_path": "/x"}')
        size, digest = record.weights_path.stat().st_size, atomic_files.sha256_of(record.weights_path)
        record.write_result(result.model_copy(update={"adapter_bytes": size, "adapter_sha256": digest}))
    return folder


def test_it_prints_the_set_and_names_no_winner(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = compare(place).front
    assert len(front) > 1
    assert main(["best", str(place)]) == 0
    out = capsys.readouterr().out
    assert "No single best: " in out
    assert "runtime (less)" in out
    assert f"--export DIR --trial {front[0].name}" in out
    assert "adapter:" not in out
    assert main(["best", str(place), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["best"] is None
    assert [one["name"] for one in document["pareto"]] == [one.name for one in front]
    assert "adapter" not in document


def test_one_is_exported_by_name_alone(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, name = tmp_path / "out", compare(place).front[-1].name
    assert main(["best", str(place), "--export", str(out)]) == 2
    said = capsys.readouterr().err
    assert "--export needs --trial NAME: no single best, the Pareto set has " in said
    assert main(["best", str(place), "--export", str(out), "--trial", "Zed"]) == 2
    assert "--trial 'Zed' is no finished configuration; " in capsys.readouterr().err
    assert not out.exists()
    assert main(["best", str(place), "--export", str(out), "--trial", name]) == 0
    assert f"adapter of {name}: {out}" in capsys.readouterr().out.replace("\n", "")
    assert (out / "adapter_model.safetensors").exists()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Exported by name: of 4 configurations it is one of" in card
    assert "in the Pareto set of ROUGE-L (more) and runtime (less)" in card
    assert "It is the best" not in card
