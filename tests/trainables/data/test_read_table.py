"""Tables: delimiters, quotes in TSV, columns twice, headers that are none, parquet, arrow and save_to_disk."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from trainables.data.load_corpus import load_corpus
from trainables.data.read_records import read_file, read_records
from trainables.data.sources import DataSource, resolve_data
from trainables.errors import UserError

SHARED = Path(__file__).resolve().parents[4] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
ROWS = [{"dialogue": f'Ann: {number}, ok; "so"', "summary": f"About {number}."} for number in range(40)]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


# --- delimiters and quotes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["sep=;\r\n", "sep=;\n", '"sep=;"\n', "SEP=|\n", "sep=\t\n"])
def test_a_spreadsheets_line_that_names_the_separator_is_no_header(tmp_path: Path, first: str) -> None:
    separator = first.strip('"\r\n')[-1]
    table = pd.DataFrame(ROWS).to_csv(index=False, sep=separator)
    assert read_file(write(tmp_path / "train.csv", first + table)).records == ROWS
    row_too_long = separator.join(("a", "b", "c")) + "\n"
    with pytest.raises(UserError, match="line 43: more cells than the 2 names"):
        read_file(write(tmp_path / "train.csv", first + table + row_too_long))


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tab_separated_text_with_quoted_cells_is_read_as_pandas_reads_it(tmp_path: Path, quoting: int) -> None:
    rows = [*ROWS, {"dialogue": "Bo: two\nlines", "summary": '"all quoted"'}]
    path = write(tmp_path / "train.tsv", pd.DataFrame(rows).to_csv(index=False, sep="\t", quoting=quoting))  # type: ignore[call-overload]
    assert read_file(path).records == pd.read_csv(path, sep="\t").to_dict("records") == rows


def test_quotes_that_are_mere_text_swallow_no_line(tmp_path: Path) -> None:
    lines = ['" What ?', "plain", 'Bo said " yes', '" he asked "']
    path = write(tmp_path / "train.tsv", "dialogue\tsummary\n" + "".join(f"{line}\ts\n" for line in lines))
    assert [record["dialogue"] for record in read_file(path).records] == lines


@needs_shared
@pytest.mark.parametrize("name", ["mnli_matched", "mnli_mismatched"])
def test_real_tokenised_text_keeps_every_line(name: str) -> None:
    path = SHARED / "real" / "mnli" / f"{name}.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        right = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [list(record.values()) for record in read_file(path).records] == right[1:]
    assert len(right) == 1000


@needs_shared
@pytest.mark.parametrize(
    ("name", "count"), [pytest.param("train", 43_410, marks=pytest.mark.slow), ("dev", 5_426), ("test", 5_427)]
)
def test_real_comments_are_read_as_pandas_reads_them(name: str, count: int) -> None:
    path = SHARED / "real" / "goemotions" / f"{name}.tsv"
    right = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    assert [list(record.values()) for record in read_file(path).records] == right.to_numpy().tolist()[1:]
    assert len(right) == count


# --- headers ----------------------------------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    "name", ["ag_news", "ag_news/test.csv", "ag_news/train_5000_text_label.csv", "goemotions/dev.tsv"]
)
def test_real_tables_without_a_header_are_refused_for_that(name: str) -> None:
    found = resolve_data(str(SHARED / "real" / name))
    with pytest.raises(UserError, match=r"seems to have no header .* write the names of its columns") as caught:
        load_corpus(found, "text", "label")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv", "mine.parquet"])
def test_a_column_that_is_there_twice_is_refused_where_it_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    cells = [(row["dialogue"], row["summary"], "other", "x", "y") for row in ROWS]
    header = ["dialogue", "summary", "summary", "", ""]
    if name.endswith("parquet"):
        columns = [pyarrow.array(column) for column in zip(*cells, strict=True)]
        pyarrow.parquet.write_table(pyarrow.table(columns, names=header), path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if name.endswith("tsv") else ",").writerows([header, *cells])
    source = DataSource("mine", str(path), "local")
    with pytest.raises(UserError, match="field 'summary' of the data 'mine' is there twice"):
        load_corpus(source, "dialogue", "summary")


def test_columns_without_a_name_are_no_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", pd.DataFrame(ROWS).assign(**{"": "x"}).to_csv(index=False).replace("\n", ",\n"))
    corpus = load_corpus(DataSource("mine", str(path), "local"), "dialogue", "summary")
    assert sum(found["read"] for found in corpus.report["splits"].values()) == 40


# --- columns in binary ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [True, False])
def test_arrow_files_are_read_as_streams_or_with_a_footer(tmp_path: Path, is_stream: bool) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    open_new = pyarrow.ipc.new_stream if is_stream else pyarrow.ipc.new_file
    with pyarrow.OSFile(str(tmp_path / "train.arrow"), "wb") as sink, open_new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    assert read_file(tmp_path / "train.arrow").records == ROWS


def test_a_damaged_arrow_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.arrow").write_bytes(b"no arrow" * 9)
    with pytest.raises(UserError, match=r"train\.arrow is not a readable arrow file"):
        read_file(tmp_path / "train.arrow")


@needs_shared
@pytest.mark.slow
def test_a_folder_of_save_to_disk_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    import datasets

    folder = SHARED / "cases" / "save_to_disk"
    right = {split: [dict(row) for row in rows] for split, rows in datasets.load_from_disk(str(folder)).items()}
    assert read_records(str(folder), "local").splits == right
    assert [len(rows) for rows in right.values()] == [100, 20, 20]
    made = datasets.Dataset.from_list(ROWS).shuffle(seed=3)  # by indices, which saving must have put in order
    made.save_to_disk(tmp_path / "one", num_shards=3)
    assert read_records(str(tmp_path / "one"), "local").splits == {"all": [dict(row) for row in made]}
    both = datasets.DatasetDict({"train": made, "unlabeled": made})
    both.save_to_disk(tmp_path / "both")
    raw = read_records(resolve_data(str(tmp_path / "both")).location, "local")
    assert (list(raw.splits), raw.notes) == (["train"], ("splits that are not read: unlabeled",))


@needs_shared
def test_a_folder_of_save_to_disk_is_read_without_datasets_and_refused_where_a_file_is_gone(tmp_path: Path) -> None:
    folder = SHARED / "cases" / "save_to_disk"
    corpus = load_corpus(resolve_data(str(folder)), "dialogue", "summary")
    assert [found["read"] for found in corpus.report["splits"].values()] == [100, 20, 20]
    for path in folder.rglob("*.json"):
        target = tmp_path / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "test" / "data-00000-of-00001.arrow").write_bytes(b"x")
    with pytest.raises(UserError, match=r"train is not whole: data-00000-of-00001.arrow is missing"):
        read_records(str(tmp_path), "local")
    state = {**json.loads((tmp_path / "train" / "state.json").read_text()), "_indices_data_files": [{"filename": "i"}]}
    (tmp_path / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"is a selection of rows: .*flatten_indices"):
        read_records(str(tmp_path), "local")
