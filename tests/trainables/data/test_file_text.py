"""Compression, encodings, and what lies in the place of data: unpacked and decoded, or refused for what it is."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow
import pytest

from trainables.data.read_records import read_file
from trainables.data.sources import resolve_data
from trainables.errors import UserError

ROWS = [{"dialogue": "Zoë: “hi” 😀", "summary": "Zoë grüßt."}, {"dialogue": "Bo: ja", "summary": "Bo nickt."}]
TEXT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = "dialogue,summary\n" + "".join(f"{row['dialogue']},{row['summary']}\n" for row in ROWS)


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_every_compression_is_unpacked_also_where_the_name_says_nothing(tmp_path: Path, ending: str, name: str) -> None:
    content = (TEXT if name.endswith("l") else TABLE).encode()
    for called in (name + ending, name):
        path = tmp_path / called
        path.write_bytes(PACKERS[ending](content[:30]) + PACKERS[ending](content[30:]))  # in two members
        assert read_file(path).records == ROWS
    assert resolve_data(str(tmp_path / (name + ending))).label == "train"


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_archive_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train.jsonl{ending}"
    for content in (PACKERS[ending](TEXT.encode() * 99)[:-9], b"no archive"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"train\.jsonl{ending} cannot be read"):
            read_file(path)


def test_a_packed_parquet_file_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet

    plain = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), plain)
    packed = tmp_path / "train.parquet.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_file(packed).records == read_file(plain).records == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["train.jsonl", "train.csv"])
def test_utf_16_and_32_are_told_by_their_first_bytes(tmp_path: Path, encoding: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((TEXT if name.endswith("l") else TABLE).encode(encoding))
    assert read_file(path).records == ROWS


def test_another_encoding_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes("dialogue,summary\na,b\nZoë,grüßt\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"train\.csv, line 3: the text must be UTF-8"):
        read_file(path)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "tsv", "parquet", "arrow"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "a pointer to large-file storage, not the data of 12,345 bytes: run `git lfs pull`"),
        ("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not data"),
        ("<html><head>", "a web page, not data"),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML, not data"),
        ("PK\x03\x04\x14", "a zip archive or a spreadsheet"),
    ],
)
def test_what_lies_in_the_place_of_data_is_told_by_name(tmp_path: Path, ending: str, content: str, said: str) -> None:
    path = tmp_path / f"train.{ending}"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"train\.{ending} is {said}"):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.xlsx", "save the sheet as CSV"),
        ("a.zip", "unpack it"),
        ("a.pkl", "can run code"),
        ("a.orc", "as .parquet"),
    ],
)
def test_a_format_that_is_not_read_says_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=rf"unsupported extension '{Path(name).suffix}'; known: .*{advice}"):
        resolve_data(str(tmp_path / name))
