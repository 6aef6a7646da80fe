"""Fields of records: parts of objects by a dot, lists as references, and lists of words, refused as summaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainables.data.corpus import Corpus
from trainables.data.data_report import report_lines
from trainables.data.load_corpus import load_corpus
from trainables.data.record_texts import field_names, is_taken_apart, value_of
from trainables.data.sources import DataSource
from trainables.errors import UserError

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")


def load(place: Path, rows: list[dict[str, Any]], source: str = "dialogue", target: str = "summary") -> Corpus:
    path = place / "mine.json"
    path.write_text(json.dumps(rows))
    return load_corpus(DataSource("mine", str(path), "local"), source, target)


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        ({"meta": {"text": "a"}}, "meta.text", "a"),
        ({"meta.text": "literal", "meta": {"text": "a"}}, "meta.text", "literal"),
        ({"meta": {"a": {"b": "deep"}}}, "meta.a.b", "deep"),
        ({"meta.a": {"b": "half"}}, "meta.a.b", "half"),
        ({"turns": [{"text": "a"}, {"text": "b"}]}, "turns.text", ["a", "b"]),
        ({"meta": None}, "meta.text", None),
        ({"meta": "text"}, "meta.text", None),
        ({}, "meta", None),
    ],
)
def test_a_part_of_an_object_is_named_by_a_dot(record: dict[str, Any], field: str, value: Any) -> None:
    assert value_of(record, field) == value
    assert (field in field_names(record)) == (value is not None)


def test_nested_texts_are_read_and_wrong_names_of_them_answered(tmp_path: Path) -> None:
    rows = [
        {"meta": {"text": f"Ann: {number}", "n": number}, "out": {"summary": f"About {number}."}, "tag": "t"}
        for number in range(60)
    ]
    corpus = load(tmp_path, rows, "meta.text", "out.summary")
    every = [example for examples in corpus.splits.values() for example in examples]
    assert {(one.source, one.references) for one in every} == {
        (row["meta"]["text"], (row["out"]["summary"],)) for row in rows
    }
    with pytest.raises(UserError, match=r"field 'meta.txt' is not in the data 'mine'; did you mean 'meta.text'"):
        load(tmp_path, rows, "meta.txt", "out.summary")
    with pytest.raises(UserError, match=r"'meta' must hold text .* got dict: .*name a part of it .*meta.text, meta.n"):
        load(tmp_path, rows, "meta", "out.summary")


def test_lists_nested_without_end_are_refused(tmp_path: Path) -> None:
    value: Any = "text"
    for _ in range(400):
        value = [value]
    rows = [{"dialogue": "a", "summary": value}]
    with pytest.raises(UserError, match=r"nested too deep|no usable record"):
        load(tmp_path, rows)


# --- lists as summaries -----------------------------------------------------------------------------------------------


@needs_cases
def test_a_list_of_words_as_summary_is_refused() -> None:
    source = DataSource("words", str(CASES / "summary-as-words.jsonl"), "local")
    with pytest.raises(UserError, match=r"'summary' holds lists of single words in 300 of 300 records .*join them"):
        load_corpus(source, "dialogue", "summary")


@needs_cases
def test_a_list_of_sentences_as_summary_says_how_many_references_were_found() -> None:
    path = CASES / "summary-as-sentences.jsonl"
    corpus = load_corpus(DataSource("sentences", str(path), "local"), "dialogue", "summary")
    counts = [len(json.loads(line)["summary"]) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {
        int(number): sum(split["references"].get(number, 0) for split in corpus.report["splits"].values())
        for number in map(str, set(counts))
    }
    kept = sum(split["kept"] for split in corpus.report["splits"].values())
    assert sum(found.values()) == kept
    assert set(found) == set(counts) == {3}
    lines = report_lines(corpus.report)
    assert [line.split(", ")[-1] for line in lines[:3]] == [
        "3 references each (training uses the first)",
        *["3 references each (the best counts)"] * 2,
    ]
    assert any(line.startswith("field 'summary' holds lists in 300 of 300 records: each part") for line in lines)


def test_one_reference_each_is_not_mentioned(tmp_path: Path) -> None:
    rows = [{"dialogue": f"Ann: {number}", "summary": [f"About {number}."]} for number in range(60)]
    lines = report_lines(load(tmp_path, rows).report)
    assert not any("reference" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "is_apart"),
    [
        (["Ann", "lost", "it."], True),
        (list("Ann lost"), True),
        (["Ann lost it.", "It is", "lost."], False),
        (["yes", "no"], False),
        (["小明去公园了。", "他们见面。", "好的。"], False),
        (list("小明去公园"), True),
        (["", "One.", "Two."], False),
        ("Ann lost it", False),
        ([["a"], ["b"], ["c"]], False),
        (None, False),
    ],
)
def test_a_text_taken_apart_is_told_from_texts(value: Any, is_apart: bool) -> None:
    assert is_taken_apart(value) is is_apart


def test_a_source_of_single_words_is_read_by_lines_and_said(tmp_path: Path) -> None:
    turns = [{"dialogue": [f"Ann: hi {number}", "Bo: ok", "Ann: bye"], "summary": "s"} for number in range(60)]
    corpus = load(tmp_path, turns)
    assert "\n" in corpus.splits["train"][0].source
    assert not any("single words" in note for note in corpus.report["notes"])
    words = [{"dialogue": ["Hi!", "Bye!", str(number)], "summary": "s"} for number in range(60)]
    corpus = load(tmp_path, words)
    every = [example.source for examples in corpus.splits.values() for example in examples]
    assert sorted(every) == sorted(f"Hi!\nBye!\n{number}" for number in range(60))
    assert any(
        note.startswith("field 'dialogue' holds lists of single words in 60 of 60 records: each is taken as a line")
        for note in report_lines(corpus.report)
    )
    with pytest.raises(UserError, match="each would be a reference of its own: join them to one text"):
        load(tmp_path, [{"dialogue": row["summary"], "summary": row["dialogue"]} for row in words])
