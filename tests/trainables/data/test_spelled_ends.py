"""Summaries that end in a spelled-out end of text, and prompts that hold a field in braces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource
from trainables.data.spelled_ends import without_end
from trainables.errors import UserError
from trainables.prompts import check_fields, split_template

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Tim was happy.</s>", "Tim was happy."),
        ("Tim was happy. <|im_end|></s>", "Tim was happy."),
        ("It cost <s>10</s>", "It cost <s>10</s>"),
        ("He wrote </s> there", "He wrote </s> there"),
        ("</s>", ""),
    ],
)
def test_an_end_is_taken_off_where_it_ends_the_text_and_closes_nothing(text: str, left: str) -> None:
    assert without_end(text)[0] == left


def test_summaries_with_a_spelled_end_are_stripped_and_counted(tmp_path: Path) -> None:
    rows = [{"dialogue": f"A: number {n}", "summary": f"Number {n}.{'</s>' if n % 2 else ''}"} for n in range(40)]
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    corpus = load_corpus(DataSource("chats", str(path), "local"), "dialogue", "summary")
    texts = [text for examples in corpus.splits.values() for one in examples for text in one.references]
    assert sorted(texts) == sorted(f"Number {n}." for n in range(40))
    assert "20 summaries end in a spelled-out </s>, which is taken off" in corpus.report["notes"]


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")
def test_the_case_with_ends_of_text_is_stripped_whole() -> None:
    source = DataSource("case", str(CASES / "summaries-with-eos.jsonl"), "local")
    corpus = load_corpus(source, "dialogue", "summary")
    assert not any("</s>" in text for part in corpus.splits.values() for one in part for text in one.references)
    assert "300 summaries end in a spelled-out </s>, which is taken off" in corpus.report["notes"]


def test_a_prompt_that_holds_the_answer_or_another_column_is_refused() -> None:
    with pytest.raises(UserError, match=r"must not hold \{target\}: the answer would stand in it"):
        split_template("{source}\n{target}\nSummary:")
    with pytest.raises(UserError, match=r"'p' holds \{product\}, a column of the data; \{source\} alone is filled in"):
        check_fields("p", "About {product}: {source}\nSay:", ["dialogue", "product", "summary"])
    check_fields("p", 'As JSON, {"say": ...} or {word}: {source}\nSay:', ["dialogue", "product", "source"])
