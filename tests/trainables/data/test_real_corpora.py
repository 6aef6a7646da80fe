"""Real corpora are read whole, with the oddities that are known of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainables.data.corpus import Corpus
from trainables.data.data_report import report_lines
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")


def load(path: Path, source: str = "dialogue", target: str = "summary", **options: Any) -> Corpus:
    return load_corpus(DataSource(path.name, str(path), "local"), source, target, **options)


@needs_real_data
def test_real_samsum_has_the_known_empty_record_and_leaks() -> None:
    corpus = load(REAL / "samsum")
    found = corpus.report["splits"]
    assert [found[split]["read"] for split in found] == [14732, 818, 819]
    assert [found[split]["empty"] for split in found] == [1, 0, 0]
    assert [found[split]["leaked"] for split in found] == [0, 47, 42]
    assert found["train"]["duplicates"] == 480  # 14,252 distinct among the 14,732, one of which is empty
    assert found["test"]["also_in_validation"] == 4
    assert {split: len(rows) for split, rows in corpus.splits.items()} == {
        "train": 14731,
        "validation": 818 - 47,
        "test": 819 - 42 - 4,
    }
    sources = {split: {" ".join(row.source.split()) for row in rows} for split, rows in corpus.splits.items()}
    assert not sources["train"] & sources["validation"]
    assert not (sources["train"] | sources["validation"]) & sources["test"]
    assert not any("\r" in row.source for rows in corpus.splits.values() for row in rows)
    assert "1 empty dropped" in report_lines(corpus.report)[0]


@needs_real_data
def test_real_samsum_keeps_its_leaks_on_request() -> None:
    corpus = load(REAL / "samsum", keep_leaked=True)
    assert [len(corpus.splits[split]) for split in ("validation", "test")] == [818, 819]
    assert corpus.report["splits"]["validation"]["leaked"] == 47


@needs_real_data
def test_real_dialogsum_has_three_references_in_its_test_split_alone() -> None:
    corpus = load(REAL / "dialogsum", target="summary+summary1+summary2+summary3")
    assert {len(row.references) for row in corpus.splits["train"]} == {1}
    assert {len(row.references) for row in corpus.splits["test"]} == {3}
    assert corpus.splits["test"][0].id == "test_0"
    found = corpus.report["splits"]
    assert found["train"]["duplicates"] == 597
    assert found["validation"]["leaked"] == 32


@needs_real_data
def test_real_instructions_in_one_list_are_read_whole() -> None:
    found = load(REAL / "alpaca", "instruction", "output").report["splits"]
    assert sum(split["read"] for split in found.values()) == 5000
    assert sum(split["empty"] for split in found.values()) == 2


@needs_real_data
def test_a_real_single_file_without_ids_or_splits_is_split_by_its_texts() -> None:
    path = REAL / "xsum" / "xsum_pairs.jsonl"
    fields = list(json.loads(path.open(encoding="utf-8").readline()))
    corpus = load(path, fields[0], fields[1])
    sizes = {split: len(rows) for split, rows in corpus.splits.items()}
    assert 0.76 < sizes["train"] / 2681 < 0.84
    assert 0.08 < sizes["test"] / 2681 < 0.12
    identities = [row.id for rows in corpus.splits.values() for row in rows]
    assert len(set(identities)) == len(identities)
