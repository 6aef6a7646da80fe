"""What bases were refused is kept by model, precision and device, and a damaged or read-only cache is no error."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_inputs import trial, write_model

from trainables.bases import refusals
from trainables.bases.loaded_bases import BaseCache
from trainables.bases.refusals import BaseRefusals
from trainables.jobs import EngineSetup


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACKSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_latest_refusals_of_a_base_replace_its_earlier_ones() -> None:
    assert refusals.read_all() == []
    refusals.remember("one", "fp32", "cpu", {"last_mlp": "old"})
    refusals.remember("two", "fp32", "cpu", {"token_graphs": "slow"})
    refusals.remember("one", "bf16", "cpu", {"last_mlp": "other precision"})
    refusals.remember("one", "fp32", "cpu", {"last_mlp": "new"})
    refusals.remember("two", "fp32", "cpu", {})
    assert refusals.read_all() == [
        BaseRefusals("one", "bf16", "cpu", {"last_mlp": "other precision"}),
        BaseRefusals("one", "fp32", "cpu", {"last_mlp": "new"}),
    ]


@pytest.mark.parametrize("text", ["{", '{"bases": [{"no": 1}]}', "[]"])
def test_a_damaged_file_is_replaced(cache: Path, text: str) -> None:
    cache.mkdir()
    refusals.refusals_path().write_text(text, encoding="utf-8")
    assert refusals.read_all() == []
    refusals.remember("one", "fp32", "cpu", {"last_mlp": "why"})
    assert [one.model for one in refusals.read_all()] == ["one"]


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file where the folder would be", encoding="utf-8")
    refusals.remember("one", "fp32", "cpu", {"last_mlp": "why"})
    assert refusals.read_all() == []


def test_what_an_engine_refuses_a_base_as_it_loads_it_is_kept(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "opt", "opt")
    bases = BaseCache(EngineSetup("nowhere", {"opt": str(folder)}))
    bases.get(trial().train.model_copy(update={"model": "opt"}), folder)
    (found,) = refusals.read_all()
    assert (found.model, found.precision, found.device) == ("opt", "fp32", "cpu")
    assert found.refused["last_mlp"] == "the last layer has no module called mlp"
