"""Records of tables: CSV and TSV with a header, parquet and arrow (no torch)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trainables.data.file_text import HEAD_BYTES, check_is_data, content_of, without_compression
from trainables.data.raw_records import SILENT, Content, Records, Ticker
from trainables.errors import UserError

LONGEST_NAME = 60  # characters of a column's name; what is longer is rather a text
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # which spreadsheets write before the header


def read_csv(path: Path, text: str, ticker: Ticker = SILENT) -> Content:
    """Return the rows under the header; raises UserError with the line of a row that has more cells."""
    csv.field_size_limit(2**31 - 1)
    declared = SEPARATOR_LINE.match(text)
    skipped = 1 if declared else 0
    text = text[declared.end() :] if declared else text
    # Spreadsheets of many countries write semicolons; a header has at least two names, so it tells.
    delimiter = declared[1] if declared else max(",;\t", key=text.partition("\n")[0].count)
    return _under_header(path, _rows(path, text, delimiter, skipped, ticker))


def _under_header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Content:
    _, names = next(rows, (0, []))
    records: Records = []
    for line, row in rows:
        if len(row) > len(names):
            raise UserError(f"{path}, line {line}: more cells than the {len(names)} names")
        records.append(_record(names, row))
    return Content(records, twice=_twice(names), hint=_hint(path, names))


def read_tsv(path: Path, text: str, ticker: Ticker = SILENT) -> Content:
    """Return the rows of tab-separated text, whose quotes may enclose cells or be mere characters.

    Quotes are taken as in CSV, unless that fails or swallows the ends of lines: then they are text.
    """
    if "\t" not in text.partition("\n")[0]:
        return read_csv(path, text, ticker)
    csv.field_size_limit(2**31 - 1)
    try:
        rows = list(_rows(path, text, "\t", 0, ticker))
        swallowed = any("\t" in cell and "\n" in cell for _, row in rows for cell in row)
    except UserError:
        swallowed = True
    if swallowed:
        lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
        rows = [(number, line.split("\t")) for number, line in lines if line]
    return _under_header(path, iter(rows))


def _rows(path: Path, text: str, delimiter: str, skipped: int, ticker: Ticker) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank with the line where it ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for row in reader:
            if row:
                number += 1
                yield reader.line_num + skipped, row
                ticker.at(f"reading {path.name}", number, unit="rows")
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num + skipped}: not valid CSV ({error})") from None


def _record(names: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = dict(zip(names, row, strict=False))
    record.update(dict.fromkeys(names[len(row) :]))
    return record


def _twice(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name in names if list(names).count(name) > 1)


def _hint(path: Path, names: Sequence[str]) -> str:
    """Say that a first line looks like a record, where one of its cells can be no column's name."""
    odd = [name for name in names if len(name) > LONGEST_NAME or name.isdigit() or len(name.split()) > 5]
    if not odd:
        return ""
    return (
        f"{path.name} seems to have no header (a cell of its first line is {odd[0][:LONGEST_NAME]!r}): "
        "write the names of its columns as the first line"
    )


# --- columns in binary ------------------------------------------------------------------------------------------------


def read_parquet(path: Path, ticker: Ticker = SILENT) -> Content:
    """Return the rows of a parquet file."""
    import pyarrow
    import pyarrow.parquet

    packed = without_compression(path.name) != path.name.lower()
    if not packed:
        _check_head(path)
    place = pyarrow.BufferReader(content_of(path)) if packed else path
    try:
        file = pyarrow.parquet.ParquetFile(place)
        # read_table refuses a name that stands twice with a sentence on its own columns.
        is_plain = not _twice(file.schema_arrow.names)
        table = pyarrow.parquet.read_table(place) if is_plain else file.read()
        return _of_batches(path, table.to_batches(), ticker)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a readable parquet file ({error})") from None


def read_arrow(path: Path, ticker: Ticker = SILENT) -> Content:
    """Return the rows of an arrow file, as a stream (which `datasets` writes) or with a footer."""
    import pyarrow

    _check_head(path)
    try:
        with pyarrow.memory_map(str(path)) as source:
            try:
                table = pyarrow.ipc.open_stream(source).read_all()
            except pyarrow.ArrowInvalid:
                source.seek(0)
                table = pyarrow.ipc.open_file(source).read_all()
            return _of_batches(path, table.to_batches(), ticker)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a readable arrow file ({error})") from None


def _check_head(path: Path) -> None:
    with path.open("rb") as file:
        check_is_data(path, file.read(HEAD_BYTES))


def _of_batches(path: Path, batches: Sequence[Any], ticker: Ticker) -> Content:
    records: Records = []
    names: list[str] = []
    for batch in batches:
        names = batch.schema.names
        records += batch.to_pylist()
        ticker.at(f"reading {path.name}", len(records), unit="rows")
    return Content(records, twice=_twice(names))
