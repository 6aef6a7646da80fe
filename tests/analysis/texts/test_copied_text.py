"""Extractive fragments against the values that others published for the same texts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.texts.copied_text import (
    SourceTokens,
    extractiveness,
    fragments,
    longest_run,
    novel_share,
    repeated_share,
    spans_of,
    tokens_of,
)

REAL = Path(__file__).resolve().parents[4] / "shared" / "real"


def measures(summary: str, source: str) -> dict:
    return extractiveness(tuple(summary.split()), SourceTokens(tuple(source.split())))


def test_the_scan_of_the_source_goes_on_behind_a_match() -> None:
    source = SourceTokens(("a", "a", "a", "b"))
    assert [one.length for one in fragments(("a", "a", "b"), source)] == [2, 1]
    found = measures("a a b", "a a a b")
    assert (found["coverage"], found["density"], found["compression"]) == (
        1,
        pytest.approx(5 / 3),
        pytest.approx(4 / 3),
    )
    assert longest_run(("a", "a", "b"), source) == 3  # the run itself is not found greedily


def test_a_text_that_copies_nothing_and_one_that_copies_all() -> None:
    assert measures("x y", "a b c")["density"] == 0
    whole = measures("a b c", "a b c")
    assert (whole["coverage"], whole["density"], whole["longest_share"], whole["novel_2"]) == (1, 3, 1, 0)


def test_an_empty_text_copies_nothing_and_has_no_ngrams() -> None:
    found = measures("", "a b c")
    assert (found["coverage"], found["density"], found["compression"], found["novel_1"]) == (0, 0, None, None)


def test_novel_and_repeated_ngrams_count_distinct_ones() -> None:
    source = SourceTokens(("a", "b"))
    tokens = ("a", "b", "a", "b", "c")
    assert novel_share(tokens, source, 1) == pytest.approx(1 / 3)
    assert novel_share(tokens, source, 2) == pytest.approx(2 / 3)  # of ab, ba, bc the source has ab
    assert repeated_share(tokens, 2) == pytest.approx(1 / 3)
    assert repeated_share(("a",), 2) is None


@pytest.mark.parametrize(
    "text", ["Karl: I'm OK, see you at 5!", "İstanbul is big", "ﬁne ÄÖ x", "日本語 and english", ""]
)
def test_every_token_has_its_place_in_the_text(text: str) -> None:
    for any_script in (False, True):
        spans = spans_of(text, any_script)
        found = [text[start:end].lower() for start, end in spans]
        if "İ" not in text:  # lower-casing that letter gives two
            assert tuple(found) == tokens_of(text, any_script)


def test_words_of_any_script_are_tokens_where_asked() -> None:
    assert tokens_of("Привет, мир") == ()
    assert tokens_of("Привет, мир", any_script=True) == ("привет", "мир")
    assert tokens_of("日本 ok", any_script=True) == ("日", "本", "ok")


def test_fragments_equal_those_of_summeval_on_five_hundred_summaries() -> None:
    path = REAL / "known_answers" / "extractive_fragments" / "dialogsum_test_summary1_fragments.json"
    texts = REAL / "dialogsum" / "dialogsum.test.jsonl"
    if not (path.exists() and texts.exists()):
        pytest.skip("the known answers are not beside this checkout")
    rows = [json.loads(line) for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    expected = json.loads(path.read_text(encoding="utf-8"))
    assert len(rows) == len(expected) == 500
    for row, values in zip(rows, expected, strict=True):
        tokens, source = tokens_of(row["summary1"]), SourceTokens(tokens_of(row["dialogue"]))
        found = extractiveness(tokens, source)
        assert (len(tokens), len(source.tokens)) == (values["n_summary"], values["n_text"])
        for name in ("coverage", "density", "compression"):
            assert found[name] == pytest.approx(values[name], abs=1e-12)
        for n in (1, 2, 3, 4):
            assert found[f"novel_{n}"] == pytest.approx(values[f"novel_{n}_set"], abs=1e-12)
            assert found[f"repeated_{n}"] == pytest.approx(values[f"repeated_{n}_set"], abs=1e-12)


def test_the_case_of_the_published_toolkit() -> None:
    path = REAL / "known_answers" / "summeval" / "fixtures.json"
    if not path.exists():
        pytest.skip("the known answers are not beside this checkout")
    fixture = json.loads(path.read_text(encoding="utf-8"))
    expected = fixture["expected"]["data_stats_single"]

    def tokens(text: str) -> tuple[str, ...]:
        # Its tokenizer makes three of "28-year-old": with the same tokens the values are the same.
        return tuple(re.findall(r"28-year|\w+|[^\w\s]", text))

    found = extractiveness(tokens(fixture["CANDS"][0]), SourceTokens(tokens(fixture["ARTICLE"])))
    assert len(tokens(fixture["CANDS"][0])) == expected["summary_length"]
    assert found["coverage"] == pytest.approx(expected["coverage"])
    assert found["density"] == pytest.approx(expected["density"])
    assert found["novel_2"] == pytest.approx(expected["percentage_novel_2-gram"])
    assert found["novel_3"] == pytest.approx(expected["percentage_novel_3-gram"])
