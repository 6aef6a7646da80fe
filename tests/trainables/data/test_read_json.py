"""JSON in every layout that people have it in: read as pandas and json read it, or refused with file and line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainables.data.corpus import Corpus
from trainables.data.load_corpus import load_corpus
from trainables.data.raw_records import Content
from trainables.data.read_records import read_file, read_records
from trainables.data.sources import DataSource
from trainables.errors import UserError

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")

ROWS = [
    {"id": "a", "dialogue": "Ann: 5 o'clock?\nBo: “yes”", "summary": "They\u2028agree."},
    {"id": "b", "dialogue": "Cid: 😀", "summary": "Cid smiles."},
    {"id": "c", "dialogue": "Dora: {}[],", "summary": "Dora writes."},
]


def read(place: Path, name: str, text: str) -> Content:
    path = place / name
    path.write_text(text, encoding="utf-8")
    return read_file(path)


def load(path: Path, **options: Any) -> Corpus:
    return load_corpus(DataSource(path.stem, str(path), "local"), "dialogue", "summary", **options)


# --- what pandas writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table", None])
@pytest.mark.parametrize("indent", [0, 2])
def test_every_layout_of_pandas_with_names_is_read_as_pandas_reads_it(tmp_path: Path, orient: Any, indent: int) -> None:
    text = pd.DataFrame(ROWS).to_json(orient=orient, indent=indent)
    again = pd.read_json(io.StringIO(text), orient=orient or "columns")
    assert again.to_dict("records") == ROWS
    found = read(tmp_path, "train.json", text).records
    assert [{name: record[name] for name in ROWS[0]} for record in found] == ROWS


def test_rows_keep_their_order_beyond_ten(tmp_path: Path) -> None:
    table = pd.DataFrame([{"dialogue": str(number), "summary": "s"} for number in range(25)])
    for orient in ("columns", "index"):
        found = read(tmp_path, "train.json", table.to_json(orient=orient)).records
        assert [record["dialogue"] for record in found] == [str(number) for number in range(25)]


def test_values_without_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="record 1: must be an object, got a list, whose columns have no names"):
        read(tmp_path, "train.json", pd.DataFrame(ROWS).to_json(orient="values"))


def test_columns_as_lists_are_rows(tmp_path: Path) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    assert read(tmp_path, "train.json", json.dumps(columns)).records == ROWS


# --- one object after another -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.jsonl", "train.ndjson", "train.json"])
def test_objects_written_over_many_lines_are_read_one_after_another(tmp_path: Path, name: str) -> None:
    text = "\n".join(json.dumps(row, indent=2, ensure_ascii=False) for row in ROWS)
    assert read(tmp_path, name, text).records == ROWS


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_under_the_name_of_lines_is_read(tmp_path: Path, indent: int | None) -> None:
    assert read(tmp_path, "train.jsonl", json.dumps(ROWS, indent=indent)).records == ROWS


def test_one_object_a_line_is_read_under_either_name(tmp_path: Path) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    for name in ("train.jsonl", "train.json", "train.ndjson"):
        assert read(tmp_path, name, text).records == ROWS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n "id": "a"\n}\n{\n "id": \n}\n', "line 6: not valid JSON"),
        ('{\n "id": "a",\n', "line 3: not valid JSON"),
        ('{\n "id": "a"\n}\n[1]\n', "record 2: must be an object, got a list"),
        ('{"id": "a"}\n{"id": 1\n{"id": 2}\n', "line 2: not valid JSON"),
        ('{"id": "a"} {"id": "b"}\nx', "line 2: not valid JSON"),
    ],
)
def test_what_is_broken_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"train\.jsonl, {said}"):
        read(tmp_path, "train.jsonl", text)


# --- objects around the records ---------------------------------------------------------------------------------------


def test_one_file_may_hold_the_splits(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    splits = {"train": ROWS[:1], "val": ROWS[1:2], "test": ROWS[2:], "version": "1.0", "extra": [{"x": 1}]}
    path.write_text(json.dumps(splits))
    raw = read_records(str(path), "local")
    assert raw.splits == {"train": ROWS[:1], "validation": ROWS[1:2], "test": ROWS[2:]}
    assert raw.notes == ("chats.json: not read, since no split is called so: extra",)
    assert [example.id for example in load(path).splits["validation"]] == ["b"]


def test_a_file_of_a_split_may_hold_that_split_alone(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps({"train": ROWS}))
    assert read_records(str(tmp_path), "local").splits == {"train": ROWS}
    (tmp_path / "train.json").write_text(json.dumps({"test": ROWS}))
    with pytest.raises(UserError, match="a file of the train split holds a list for the test split"):
        read_records(str(tmp_path), "local")


def test_a_list_under_a_usual_key_is_read_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, "train.json", json.dumps({"version": 2, "data": ROWS}))
    assert (found.records, found.notes) == (ROWS, ("train.json: the records are those of its key 'data'",))


@pytest.mark.parametrize(
    "content",
    [{"summary": {"x": "a"}, "dialogue": {"x": "b"}}, {"a": [1], "b": [1, 2]}, {"dialogue": ["a"], "n": 3}, "text", 3],
)
def test_another_object_is_refused_with_what_to_do(tmp_path: Path, content: Any) -> None:
    with pytest.raises(UserError, match=r"must hold a list of objects, got .*orient='records', lines=True"):
        read(tmp_path, "train.json", json.dumps(content))


# --- what text cannot hold --------------------------------------------------------------------------------------------


@needs_cases
def test_halves_of_characters_are_replaced_and_counted() -> None:
    path = CASES / "lone-surrogate.jsonl"
    plain = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    corpus = load(path)
    assert corpus.report["notes"][1].startswith("lone-surrogate.jsonl: 300 records held half a character")
    sources = {example.id: example.source for examples in corpus.splits.values() for example in examples}
    right = {
        row["id"]: row["dialogue"].encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
        for row in plain
    }
    assert sources == right


@needs_cases
def test_three_records_with_halves_of_characters_are_too_few_in_one_sentence() -> None:
    with pytest.raises(UserError, match="has no usable record: 0 read"):
        load(CASES / "lone-surrogate-3.jsonl")


def test_whole_characters_beside_a_half_stay_as_they_are(tmp_path: Path) -> None:
    text = '[{"k\\ud83d": "\\ud83d\\ude00 \\ude00", "l": ["\\ud83d", 1]}, {"k": "\\ud83d\\ude00"}, {"k": "\\\\ud83d"}]'
    found = read(tmp_path, "train.json", text)
    assert found.records == [{"k\ufffd": "😀 \ufffd", "l": ["\ufffd", 1]}, {"k": "😀"}, {"k": "\\ud83d"}]
    assert found.notes[0].startswith("train.json: 1 records held half a character")


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_brackets_nested_without_end_are_refused(tmp_path: Path, name: str, bracket: str) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl?(, line 1)?: brackets are nested too deep"):
        read(tmp_path, name, bracket * 100_000)


def test_a_number_of_more_digits_than_python_reads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.jsonl, line 2: not readable JSON"):
        read(tmp_path, "train.jsonl", '{"id": 1}\n{"id": ' + "1" * 5000 + "}\n")


def test_a_key_that_stands_twice_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    line = '{{"dialogue": "Ann: {0}", "summary": "One {0}.", "summary": "Two.", "x": 1, "x": 2}}\n'
    path.write_text("".join(line.format(number) for number in range(60)))
    with pytest.raises(UserError, match="field 'summary' of the data 'mine' is there twice"):
        load(path)
    path.write_text(path.read_text().replace('"summary": "Two."', '"other": "Two."'))
    assert {name for example in load(path).splits["test"] for name, _ in example.columns} == {"other"}
