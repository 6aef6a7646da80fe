"""Records of a data set as plain dicts, from files, the hub's cache or the bundled corpus (no torch).

Files are read without the `datasets` library, which takes seconds to import: json (a list of objects), jsonl, csv with
a header, each also as .gz, and parquet. A folder holds one file per split, named for it (`train.json`, `val.json`,
`dialogsum.dev.jsonl.gz`, `train-00000-of-00002.parquet`), or one file in all; one file has the single split UNSPLIT.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainables import pocket
from trainables.errors import UserError

Records = list[dict[str, Any]]

UNSPLIT = "all"
EXTENSIONS = (".json", ".jsonl", ".csv", ".parquet")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
POCKET_SIZES = {"train": 2000, "validation": 400, "test": 400}


def read_records(location: str, kind: str) -> dict[str, Records]:
    """Return the records per split; raises UserError naming file and line of what cannot be read."""
    if kind == "bundled":
        return {split: pocket.records(split, count) for split, count in POCKET_SIZES.items()}
    path = Path(location)
    if not path.exists():
        if kind == "local":
            raise UserError(f"{path} does not exist")
        return _through_datasets(location)
    if path.is_file():
        return {UNSPLIT: _not_empty(read_file(path), path)}
    try:
        files = split_files(path)
    except UserError:
        # A layout that only its dataset card explains: worth the library's import, for what came from the hub alone.
        if kind == "local":
            raise
        return _through_datasets(location)
    splits = {split: [record for file in shards for record in read_file(file)] for split, shards in files.items()}
    _not_empty([record for records in splits.values() for record in records[:1]], path)
    return splits


def _not_empty(records: Records, path: Path) -> Records:
    if not records:
        raise UserError(f"{path} holds no records")
    return records


def data_files(folder: Path) -> list[Path]:
    """Return the files of a folder that can be read; of its `data/` folder where it has none itself."""
    own = sorted(path for path in folder.iterdir() if path.is_file() and extension(path) in EXTENSIONS)
    inner = folder / "data"
    return own or (data_files(inner) if inner.is_dir() else [])


def extension(path: Path) -> str:
    """Return the extension that decides the format: that before .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def split_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split of a folder; raises UserError where there are none or two claim one split."""
    found: dict[str, list[Path]] = {}
    files = data_files(folder)
    for path in files:
        split = split_of(path)
        if split:
            found.setdefault(split, []).append(path)
    for split, paths in found.items():
        if len(paths) > 1 and not all(re.search(r"-\d{5}-of-\d{5}", path.name) for path in paths):
            names = ", ".join(path.name for path in paths)
            raise UserError(f"{folder}: more than one file for the {split} split ({names}); keep one of them")
    if found:
        return {split: found[split] for split in SPLIT_NAMES if split in found}
    if len(files) == 1:
        return {UNSPLIT: files}
    listed = ", ".join(path.name for path in files) or "none"
    raise UserError(
        f"{folder} has no data files named for a split (train.json, val.json, test.json, "
        f"or .jsonl, .csv, .parquet); data files found: {listed}"
    )


def split_of(path: Path) -> str | None:
    """Return the split that a file is named for: its whole stem, or its last part after a dot, dash or underscore."""
    stem = path.name.lower().removesuffix(".gz")
    stem = re.sub(r"-\d{5}-of-\d{5}.*$", "", stem.removesuffix(Path(stem).suffix))
    last = re.split(r"[._-]", stem)[-1]
    return next((split for split, names in SPLIT_NAMES.items() if last in names), None)


def read_file(path: Path) -> Records:
    """Return the records of one file."""
    kind = extension(path)
    if kind not in EXTENSIONS:
        raise UserError(f"{path} has the unsupported extension {kind!r}; known: {', '.join(EXTENSIONS)}, also as .gz")
    if kind == ".parquet":
        return _read_parquet(path)
    text = _read_text(path)
    if kind == ".csv":
        return _read_csv(path, text)
    return _read_json_lines(path, text) if kind == ".jsonl" else _read_json(path, text)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: the text must be UTF-8 ({error.reason})") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _read_json(path: Path, text: str) -> Records:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        # Files called .json on the hub often hold one object a line.
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            return _read_json_lines(path, text)
        raise UserError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from None
    if isinstance(content, dict) and not any(isinstance(value, list | dict) for value in content.values()):
        content = [content]  # one object a line, one line
    if not isinstance(content, list):
        raise UserError(f"{path} must hold a list of objects, got {type(content).__name__}")
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise UserError(f"{path}, record {number}: must be an object, got {type(record).__name__}")
    return content


def _read_json_lines(path: Path, text: str) -> Records:
    records: Records = []
    # Not splitlines: JSON text may hold U+2028 and the like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not valid JSON ({error.msg})") from None
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: must be an object, got {type(record).__name__}")
        records.append(record)
    return records


def _read_csv(path: Path, text: str) -> Records:
    csv.field_size_limit(2**31 - 1)
    # Spreadsheets of many countries write semicolons; a header has at least two names, so it tells.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: Records = []
    try:
        for record in reader:
            if None in record:
                raise UserError(
                    f"{path}, line {reader.line_num}: more cells than the {len(reader.fieldnames or ())} names"
                )
            records.append(dict(record))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error})") from None
    return records


def _read_parquet(path: Path) -> Records:
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_table(path).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable parquet file ({error})") from None


def _through_datasets(location: str) -> dict[str, Records]:
    """Read what the `datasets` library has in its cache, or a folder whose layout its dataset card describes."""
    import datasets

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(location)
    except Exception as error:  # the library raises anything, down to bare ValueError and KeyError
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"the data {location!r} cannot be loaded: {type(error).__name__}: {reason}") from None
    splits = {split: _match(split, list(loaded)) for split in SPLIT_NAMES}
    return {split: [dict(row) for row in loaded[name]] for split, name in splits.items() if name}


def _match(split: str, names: Sequence[str]) -> str | None:
    return next((name for name in names if name.lower() in SPLIT_NAMES[split]), None)
