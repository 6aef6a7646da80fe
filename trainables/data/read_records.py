"""Records of a data set as plain dicts, from files, the hub's cache or the bundled corpus (no torch).

Files are read without the `datasets` library, which takes seconds to import: json (a list of objects, or one of the
layouts of `read_json`), jsonl, csv and tsv with a header, each also compressed, parquet and arrow. A folder
holds one file per split, named for it (`train.json`, `val.json`, `dialogsum.dev.jsonl.gz`,
`train-00000-of-00002.parquet`), what `save_to_disk` wrote, or one file in all; one file has the single split UNSPLIT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables import pocket
from trainables.data import arrow_folder, configurations, hub
from trainables.data.file_text import extension, text_of
from trainables.data.folder_layout import SPLIT_NAMES, UNSPLIT, Layout, unsupported
from trainables.data.raw_records import SILENT, Content, NoLayout, Raw, Records, Ticker
from trainables.data.read_json import read_json
from trainables.data.read_table import read_arrow, read_csv, read_parquet, read_tsv
from trainables.errors import UserError


def read_records(location: str, kind: str, configuration: str | None = None, ticker: Ticker = SILENT) -> Raw:
    """Return the records per split; raises UserError naming file and line of what cannot be read."""
    if kind == "bundled":
        configurations.check_unnamed(location, configuration)
        return Raw({split: pocket.records(split) for split in pocket.SPLIT_SIZES})
    path = Path(location)
    if not path.exists():
        if kind == "local":
            raise UserError(f"{path} does not exist")
        return _through_datasets(location, configuration)
    if path.is_file() or arrow_folder.is_saved(path):
        configurations.check_unnamed(path.name, configuration)
    if path.is_file():
        return _not_empty(_merged({UNSPLIT: [read_file(path, ticker)]}), path)
    if arrow_folder.is_saved(path):
        return _not_empty(_of_layout(arrow_folder.split_files(path), ticker), path)
    try:
        layout = configurations.layout_of(path, configuration)
    except NoLayout:
        # A layout that only its dataset card explains: worth the library's import, for what came from the hub alone.
        if kind == "local":
            raise
        return _through_datasets(location, configuration)
    return _not_empty(_of_layout(layout, ticker), path)


def _of_layout(layout: Layout, ticker: Ticker) -> Raw:
    raw = _merged({split: [read_file(file, ticker) for file in files] for split, files in layout.files.items()})
    return Raw(raw.splits, (*raw.notes, *layout.notes), raw.twice, raw.hint)


def _merged(contents: Mapping[str, Sequence[Content]]) -> Raw:
    """Put the contents of files together; a single file may name the splits itself."""
    splits: dict[str, Records] = {}
    every = [content for parts in contents.values() for content in parts]
    for split, parts in contents.items():
        for content in parts:
            for name, records in (content.splits or {split: content.records}).items():
                if name != split and split != UNSPLIT:
                    raise UserError(f"a file of the {split} split holds a list for the {name} split; give it by itself")
                splits.setdefault(name, []).extend(records)
    notes = tuple(note for content in every for note in content.notes)
    twice = frozenset(name for content in every for name in content.twice)
    return Raw(splits, notes, twice, next((content.hint for content in every if content.hint), ""))


def _not_empty(raw: Raw, path: Path) -> Raw:
    if not any(raw.splits.values()):
        raise UserError(f"{path} holds no records")
    return raw


def read_file(path: Path, ticker: Ticker = SILENT) -> Content:
    """Return what one file holds."""
    if problem := unsupported(path):
        raise UserError(problem)
    kind = extension(path)
    ticker.begin(f"reading {path.name}", path.stat().st_size)
    if kind == ".parquet":
        return read_parquet(path, ticker)
    if kind == ".arrow":
        return read_arrow(path, ticker)
    text = text_of(path)
    if kind in (".csv", ".tsv"):
        return (read_csv if kind == ".csv" else read_tsv)(path, text, ticker)
    return read_json(path, text, kind != ".json", ticker)


def _through_datasets(location: str, configuration: str | None) -> Raw:
    """Read what the `datasets` library has in its cache, or a folder whose layout its dataset card describes."""
    if configuration is None:
        configurations.check_one(hub.prepared_configurations(location))
    import datasets

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(location, configuration)
    except Exception as error:  # the library raises anything, down to bare ValueError and KeyError
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"the data {location!r} cannot be loaded: {type(error).__name__}: {reason}") from None
    splits = {split: _match(split, list(loaded)) for split in SPLIT_NAMES}
    return Raw({split: [dict(row) for row in loaded[name]] for split, name in splits.items() if name})


def _match(split: str, names: Sequence[str]) -> str | None:
    return next((name for name in names if name.lower() in SPLIT_NAMES[split]), None)
