"""A folder to run an experiment in: a tiny model, a small data set and the experiment own.py, without a hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_inputs import write_data, write_model

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def go_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` the current one, with a cache of its own, and tell the hub's libraries to stay offline."""
    for name in OFFLINE:
        monkeypatch.setenv(name, "1")
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(folder / "cache"))
    monkeypatch.chdir(folder)


def make_place(folder: Path, monkeypatch: pytest.MonkeyPatch, experiment: str) -> Path:
    """Make `folder` the current one, with a model, data and own.py with that text, without a hub; return it."""
    go_offline(folder, monkeypatch)
    write_model(folder / "model")
    write_data(folder / "data")
    (folder / "own.py").write_text(experiment, encoding="utf-8")
    return folder
