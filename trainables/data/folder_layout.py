"""Which files of a folder are data, which split each is named for, and which are missing or left over (no torch)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.data.file_text import extension, without_compression
from trainables.data.raw_records import NoLayout
from trainables.errors import UserError

UNSPLIT = "all"
FIRST_FORMATS = (".json", ".jsonl", ".csv", ".parquet")  # win where a split is there in several formats
EXTENSIONS = (*FIRST_FORMATS, ".tsv", ".ndjson", ".arrow")
OTHER_DATA = (".feather", ".orc", ".xlsx", ".xls", ".ods", ".zip", ".tar", ".tgz", ".7z", ".pkl", ".pickle")
ADVICE = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "save the sheet as CSV"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z"), "unpack it"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle can run code when it is loaded; write the records as .jsonl"),
    **dict.fromkeys((".feather", ".orc"), "write it as .parquet"),
}
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
# What describes a data set beside its data: of the hub, of `datasets`, of Kaggle, of Croissant.
ABOUT_DATA = (
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),
    *("dataset-metadata.json", "croissant.json", "package.json", "datapackage.json"),
)
SHARD = re.compile(r"-(\d{5})-of-(\d{5})(.*)$")
SHOWN_NAMES = 12
SWEEP_FILES = ("sweep.json", ".lease.lock")  # the lock is there before the other is written


@dataclass(frozen=True)
class Layout:
    """The files of each split in reading order, and sentences on what lies beside them and is not read."""

    files: dict[str, list[Path]]
    notes: tuple[str, ...] = ()


def is_data(path: Path) -> bool:
    """Tell whether a file's name is that of readable data: no hidden file, nothing that merely describes data."""
    name = path.name.lower()
    return not name.startswith(".") and extension(path) in EXTENSIONS and name not in ABOUT_DATA


def unsupported(path: Path) -> str | None:
    """Return in a sentence why a file's name is that of no readable format, None where it is."""
    kind = extension(path)
    if kind in EXTENSIONS:
        return None
    advice = f"; {ADVICE[kind]}" if kind in ADVICE else ""
    return (
        f"{path} has the unsupported extension {kind!r}; known: {', '.join(EXTENSIONS)}, "
        f"also as .gz, .zst, .bz2, .xz{advice}"
    )


def data_files(folder: Path) -> list[Path]:
    """Return the files of a folder that can be read; of its `data/` folder where it has none itself."""
    own = sorted(path for path in folder.iterdir() if path.is_file() and is_data(path))
    inner = folder / "data"
    return own or (data_files(inner) if inner.is_dir() else [])


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder is that of a sweep, which holds no data set: its files are its own."""
    if not any((folder / name).is_file() for name in SWEEP_FILES):
        return False
    return not any(split_of(path) for path in folder.iterdir() if path.is_file() and is_data(path))


def files_named_for(folder: Path, splits: Collection[str], left_out: Collection[Path]) -> dict[str, list[Path]]:
    """Return the files that are named for any of these splits; raises UserError where two claim one."""
    named = [(split_of(path), path) for path in data_files(folder)]
    named = (
        named
        if any(split in splits for split, _ in named)
        else [(_split_called(path.parent.name), path) for path in _in_split_folders(folder)]
    )
    found = _by_split((split, path) for split, path in named if split in splits and path not in left_out)
    return {split: _one_set(folder, split, found[split]) for split in SPLIT_NAMES if split in found}


def split_files(folder: Path) -> Layout:
    """Return the files of each split by their names; raises UserError where two claim one split or a shard is missing.

    Raises:
        NoLayout: no file is named for a split, and there is not one alone.
    """
    files = data_files(folder)
    found = _by_split((split_of(path), path) for path in files)
    if not found:
        found = _by_split((_split_called(path.parent.name), path) for path in _in_split_folders(folder))
    for split, paths in found.items():
        found[split] = _one_set(folder, split, paths)
    if not found:
        alone = files if len(files) == 1 else [path for path in files if extension(path) in FIRST_FORMATS]
        if len(alone) != 1:
            raise NoLayout(_no_layout(folder, files))
        found = {UNSPLIT: alone}
    for paths in found.values():
        check_shards(paths)
    ordered = {split: found[split] for split in (*SPLIT_NAMES, UNSPLIT) if split in found}
    return Layout(ordered, unread_notes(folder, [path for paths in ordered.values() for path in paths]))


def _by_split(named: Iterable[tuple[str | None, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for split, path in named:
        if split:
            found.setdefault(split, []).append(path)
    return found


def _one_set(folder: Path, split: str, paths: list[Path]) -> list[Path]:
    """Return the one file of a split, or its shards."""
    if len(paths) > 1 and not all(SHARD.search(path.name) for path in paths):
        first = [path for path in paths if extension(path) in FIRST_FORMATS]
        if len(first) == 1:
            return first
        names = ", ".join(str(path.relative_to(folder)) for path in paths)
        raise UserError(f"{folder}: more than one file for the {split} split ({names}); keep one of them")
    return paths


def _in_split_folders(folder: Path) -> list[Path]:
    """Return the data files in folders that are named for a split: train/part.json."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and _split_called(path.name))
    return [path for place in inner for path in sorted(place.iterdir()) if path.is_file() and is_data(path)]


def _no_layout(folder: Path, files: Sequence[Path]) -> str:
    listed = ", ".join(path.name for path in files[:SHOWN_NAMES]) or "none"
    return (
        f"{folder} has no data files named for a split (train.json, val.json, test.json, "
        f"or {', '.join(EXTENSIONS[1:])}); data files found: {listed}"
    )


def split_of(path: Path) -> str | None:
    """Return the split that a file is named for: its whole stem, or its last part after a dot, dash or underscore."""
    stem = without_compression(path.name)
    stem = re.sub(r"-\d{5}-of-\d{5}.*$", "", stem.removesuffix(Path(stem).suffix))
    return _split_called(re.split(r"[._-]", stem)[-1])


def _split_called(name: str) -> str | None:
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


def check_shards(paths: Sequence[Path]) -> None:
    """Raise UserError unless every shard that the names of these files count is there, once."""
    sets: dict[tuple[str, int], dict[int, list[Path]]] = {}
    totals: dict[str, set[int]] = {}
    for path in paths:
        match = SHARD.search(path.name)
        if match:
            start, total = path.name[: match.start()], int(match[2])
            totals.setdefault(start, set()).add(total)
            sets.setdefault((start, total), {}).setdefault(int(match[1]), []).append(path)
    for (start, total), shards in sets.items():
        listed = ", ".join(path.name for paths in shards.values() for path in paths)
        if len(totals[start]) > 1 or any(len(same) > 1 for same in shards.values()):
            every = ", ".join(path.name for path in paths)
            raise UserError(f"{paths[0].parent} holds more than one set of shards ({every}); keep one of them")
        first = 1 if total in shards else 0  # a few writers count from one
        missing = [number for number in range(first, first + total) if number not in shards]
        if missing:
            ending = extension(paths[0])
            names = [f"{start}-{number:05d}-of-{total:05d}{ending}" for number in missing]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"{paths[0].parent} is not whole: {', '.join(names[:3])}{more} missing beside {listed}; "
                "download what is missing"
            )


def missing_shards(folder: Path) -> str | None:
    """Return in a sentence which shards a folder, or one inside it, lacks; None where each set is whole."""
    try:
        for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
            check_shards([path for path in data_files(place) if SHARD.search(path.name)])
    except UserError as error:
        return str(error)
    return None


def unread_notes(folder: Path, read: Sequence[Path]) -> tuple[str, ...]:
    """Name once the data files in a folder, and one folder down, that are not among those read."""
    taken = set(read)
    found = []
    for path in sorted(folder.iterdir()):
        inner = sorted(path.iterdir()) if path.is_dir() and not path.name.startswith(".") else [path]
        for one in inner:
            is_other = not one.name.startswith(".") and extension(one) in OTHER_DATA
            if one.is_file() and one not in taken and (is_data(one) or is_other):
                found.append(str(one.relative_to(folder)))
    if not found:
        return ()
    more = f" and {len(found) - SHOWN_NAMES} more" if len(found) > SHOWN_NAMES else ""
    return (f"files that are not read: {', '.join(found[:SHOWN_NAMES])}{more}",)
