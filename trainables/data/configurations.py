"""Data sets with several configurations, as a dataset card or folders beside one another have them (no torch).

One is named as NAME:CONFIG. Without a name a card's default is read, as `datasets` does; where there is none the
configurations are listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trainables.data.dataset_card import Configuration, configurations_of, is_outside
from trainables.data.folder_layout import (
    SPLIT_NAMES,
    Layout,
    check_shards,
    files_named_for,
    is_data,
    split_files,
    unread_notes,
)
from trainables.data.raw_records import NoLayout
from trainables.errors import UserError, nearest

DEFAULT = "default"

Files = dict[str, list[Path]]


def parted(name: str) -> tuple[str, str | None]:
    """Part 'lab/chats:short' into the name of a data set and that of its configuration."""
    place, colon, configuration = name.rpartition(":")
    if not colon or not place or "/" in configuration or Path(name).expanduser().exists():
        return name, None
    return place, configuration


def layout_of(folder: Path, wanted: str | None) -> Layout:
    """Return the files of a folder's configuration; names of files alone tell where no card states any.

    Raises UserError where there are several and none is named, or the one named, or what it states, is not there.
    """
    found = configurations_of(folder)
    if wanted is None and not any(_files_of(one) or one.folder != folder for one in found):
        try:
            return _by_names(folder, found)
        except NoLayout:
            if not found:
                raise
    chosen = found[0] if wanted is None and len(found) == 1 else _choose(folder, found, wanted)
    others = [one for one in found if one is not chosen]
    notes = [f"configurations that are not read: {', '.join(one.name for one in others)}"] if others else []
    if not chosen.patterns:
        return _unstated(folder, chosen, others, notes, wanted is not None)
    files, absent = _files_of(chosen), _absent(chosen)
    if not files or (absent and wanted is not None):
        raise _missing(folder, chosen, absent, wanted is not None)
    if absent:
        notes.append(f"the card states files that are not here: {', '.join(absent)}")
    if wanted is None or not others:  # who names one of several means what the card gives it, and no more
        files, filled = _filled(chosen, files, _every_path(others))
        notes += filled
    read = [*_every_path([chosen, *others]), *(path for paths in files.values() for path in paths)]
    return Layout(_in_order_of_names(folder, files), (*unread_notes(folder, read), *notes))


def _by_names(folder: Path, found: Sequence[Configuration]) -> Layout:
    """Return the files of a folder that has no configurations, by their names alone."""
    named = split_files(folder)
    stating = [one.name for one in found if one.patterns]
    if not stating:
        return named
    note = f"no file that the card states for {', '.join(stating)} is here: files are read by their names"
    return Layout(named.files, (*named.notes, note))


def _unstated(
    folder: Path, chosen: Configuration, others: Sequence[Configuration], notes: Sequence[str], is_named: bool
) -> Layout:
    """Return the files of a configuration that states none: those of its folder, by their names."""
    named = split_files(chosen.folder)
    if chosen.folder != folder:
        return named
    theirs = _every_path(others)
    if is_named and others and all(path in theirs for paths in named.files.values() for path in paths):
        raise UserError(
            f"configuration {chosen.name!r} of the data {folder.name!r} states no files, and all that are named for a "
            f"split are of another ({', '.join(one.name for one in others)}); state its own in the card"
        )
    said = [f"configuration {chosen.name!r} states no files: those named for a split are read"] if others else []
    return Layout(named.files, (*named.notes, *notes, *said))


def _choose(folder: Path, found: list[Configuration], wanted: str | None) -> Configuration:
    names = [one.name for one in found]
    if wanted is not None:
        if wanted not in names:
            known = nearest(wanted, names) if names else "it has none"
            raise UserError(f"configuration {wanted!r} is not in the data {folder.name!r}; {known}")
        return found[names.index(wanted)]
    marked = [one for one in found if one.is_default] or [one for one in found if one.name == DEFAULT]
    if len(marked) != 1:
        raise UserError(_several(names))
    return marked[0]


def check_one(names: list[str]) -> None:
    """Raise UserError where a data set has several configurations and none of them is the default."""
    if len(names) > 1 and DEFAULT not in names:
        raise UserError(_several(names))


def _several(names: list[str]) -> str:
    return (
        f"the data have {len(names)} configurations ({', '.join(names)}) and one must be named: --data NAME:{names[0]}"
    )


def check_unnamed(place: str, wanted: str | None) -> None:
    """Raise UserError where a configuration is named of data that can have none."""
    if wanted is not None:
        raise UserError(f"configuration {wanted!r} is not in the data {place!r}; it has none")


# --- what a card states, on disk --------------------------------------------------------------------------------------


def _split_called(split: str) -> str | None:
    return next((known for known, every in SPLIT_NAMES.items() if split.lower() in every), None)


def _files_of(chosen: Configuration) -> Files:
    """Return the files that a card gives a configuration, empty where it states none, or none that is read here."""
    files: Files = {}
    for split, names in chosen.patterns.items():
        called = _split_called(split)
        paths = [path for name in names for path in _matching(chosen.folder, name) if is_data(path)]
        if called and paths:
            files[called] = list(dict.fromkeys(paths))
    return _ordered(files)


def _ordered(files: Mapping[str, list[Path]]) -> Files:
    return {split: files[split] for split in SPLIT_NAMES if split in files}


def _every_path(found: Iterable[Configuration]) -> set[Path]:
    return {path for one in found for paths in _files_of(one).values() for path in paths}


def _absent(chosen: Configuration) -> list[str]:
    """Return the patterns of train, validation and test that no data file fits."""
    return [
        name
        for split, names in chosen.patterns.items()
        for name in names
        if _split_called(split) and not any(map(is_data, _matching(chosen.folder, name)))
    ]


def _missing(folder: Path, chosen: Configuration, absent: Sequence[str], is_named: bool) -> UserError:
    """Return the refusal of a configuration whose files are not there; `datasets` may know what others there are."""
    stated = [name for names in chosen.patterns.values() for name in names]
    said = UserError if is_named and not any(_matching(chosen.folder, name) for name in stated) else NoLayout
    return said(
        f"configuration {chosen.name!r} of the data {folder.name!r} states {', '.join(absent or stated)} in its card, "
        "and no such data file of train, validation or test is there"
    )


def _filled(chosen: Configuration, files: Files, theirs: set[Path]) -> tuple[Files, list[str]]:
    """Add the files named for a split that the card leaves out, unless it states them, literally, for another."""
    literal = {chosen.folder / name for names in chosen.patterns.values() for name in names}
    absent = [split for split in SPLIT_NAMES if split not in files]
    added = []
    for split, paths in files_named_for(chosen.folder, absent, theirs | (literal & _every_path([chosen]))).items():
        rest = {known: [path for path in own if path not in paths] for known, own in files.items()}
        if all(rest.values()):
            files = {**rest, split: paths}
            added.append(f"{split} ({', '.join(path.name for path in paths)})")
    note = f"splits that the card does not state are read from the files named for them: {', '.join(added)}"
    return _ordered(files), [note] if added else []


def _in_order_of_names(folder: Path, files: Files) -> Files:
    """Return the files whole, in the order that names alone give where these are the same: it is in fingerprints."""
    for paths in files.values():
        check_shards(paths)
    try:
        named = split_files(folder).files
    except UserError:
        return files
    return named if {split: sorted(paths) for split, paths in files.items()} == named else files


def _matching(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that a card's pattern means; none outside it."""
    if not pattern or is_outside(pattern):
        return []
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except ValueError:  # no pattern
        return []
