"""Where a model and a data set come from: a local path, the hub's cache, the hub, or what is bundled (no torch).

The order is fixed and each step is remembered, so that a refusal names all that was tried. Call `go_offline()` after
the last resolve.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainables.data import configurations, folder_layout, hub
from trainables.data.dataset_card import CARD
from trainables.data.file_text import extension, without_compression
from trainables.data.hub import go_offline, hub_reachable
from trainables.errors import UserError, nearest
from trainables.model_files.fingerprint import TOKENIZER_FILES, model_fingerprint, runs_own_code
from trainables.model_files.weight_files import ADAPTER, chosen_weights, no_weights, weights_problem
from trainables.pocket import POCKET_DATA, POCKET_MODEL, model_folder

__all__ = [
    "TOKENIZER_FILES",
    "DataSource",
    "ModelSource",
    "go_offline",
    "hub_reachable",
    "model_fingerprint",
    "resolve_data",
    "resolve_model",
]

Kind = Literal["local", "cache", "hub", "bundled"]
SOURCES = ("auto", "hub", "bundled")

# Short names, and the repositories that hold them: the first is asked for, any of them is taken from the cache.
MODEL_IDS: dict[str, tuple[str, ...]] = {"gpt2": ("openai-community/gpt2", "gpt2")}
DATA_IDS: dict[str, tuple[str, ...]] = {"samsum": ("knkarthick/samsum",), "dialogsum": ("knkarthick/dialogsum",)}


@dataclass(frozen=True)
class ModelSource:
    """A model's folder; `fingerprint` is a SHA-256 over all of it that is loaded (large weights sampled)."""

    label: str
    folder: str
    kind: Kind
    revision: str | None
    fingerprint: str
    own_code: bool = False  # it runs Python files of the folder, and they are in the fingerprint


@dataclass(frozen=True)
class DataSource:
    """A data set's file or folder, or its hub id where only the `datasets` library's own cache has it."""

    label: str
    location: str
    kind: Kind
    revision: str | None = None
    configuration: str | None = None  # one of several in the data set


@dataclass(frozen=True)
class _Wanted:
    """What differs between looking for a model and for a data set."""

    repo_type: hub.RepoType
    noun: str
    bundled: str
    ids: dict[str, tuple[str, ...]]
    problem: Callable[[Path], str | None]
    choose: Callable[[Iterable[str]], list[str]]


@dataclass(frozen=True)
class _Found:
    label: str
    location: str
    kind: Kind
    revision: str | None = None


def resolve_model(
    name: str, source: str = "auto", stand_in: bool = False, trust_remote_code: bool = False
) -> ModelSource:
    """Find a model by path, hub name or the label of the bundled one.

    `stand_in` says that the experiment declares the bundled model in place of this name. Python files of a repository
    are downloaded and fingerprinted only with `trust_remote_code`. Raises UserError naming what was tried, within 10 s.
    """
    wanted = _Wanted(
        "model", "model", POCKET_MODEL, MODEL_IDS, model_problem, lambda names: model_files(names, trust_remote_code)
    )
    found = _find(wanted, name, source, stand_in)
    folder = str(model_folder()) if found.kind == "bundled" else found.location
    problem = model_problem(Path(folder))
    if problem:
        raise UserError(f"this installation is not whole: {problem}")
    own_code = runs_own_code(Path(folder), trust_remote_code)
    fingerprint = model_fingerprint(Path(folder), own_code=own_code)
    return ModelSource(found.label, folder, found.kind, found.revision, fingerprint, own_code)


def resolve_data(name: str, source: str = "auto", stand_in: bool = False) -> DataSource:
    """Find a data set by path, hub name or the label of the bundled one; raises UserError as resolve_model does.

    `NAME:CONFIG` names one of a data set's configurations.
    """
    wanted = _Wanted("dataset", "data set", POCKET_DATA, DATA_IDS, data_problem, dataset_files)
    name, configuration = configurations.parted(name)
    found = _find(wanted, name, source, stand_in and configuration is None)
    label = found.label if configuration is None else f"{found.label}:{configuration}"
    return DataSource(label, found.location, found.kind, found.revision, configuration)


# --- the search ------------------------------------------------------------------------------------------------------


def _find(wanted: _Wanted, name: str, source: str, stand_in: bool) -> _Found:
    if source not in SOURCES:
        raise UserError(f"source {source!r} is unknown; {nearest(source, SOURCES)}")
    bundled = _Found(wanted.bundled, wanted.bundled, "bundled")
    if name == wanted.bundled:
        return bundled
    tried: list[str] = []
    found = _local(wanted, name, tried)
    if found:
        return found
    if source == "bundled":
        if stand_in:
            return bundled
        raise UserError(f"no bundled {wanted.noun} is declared for {name!r}; ask for {wanted.bundled!r} by name")
    ids = wanted.ids.get(name, (name,))
    found = _cached(wanted, name, ids, tried) or _from_hub(wanted, name, ids[0], tried)
    if found:
        return found
    if stand_in and source == "auto":
        return bundled
    raise UserError(f"{wanted.noun} {name!r} was not found; tried {'; '.join(tried)}{_hint(wanted, name)}")


def _hint(wanted: _Wanted, name: str) -> str:
    known = [*wanted.ids, wanted.bundled]
    return "" if name in known else f"; {nearest(name, known)}"


def _local(wanted: _Wanted, name: str, tried: list[str]) -> _Found | None:
    path = Path(name).expanduser()
    bare = "/" not in name and not name.startswith((".", "~"))
    if path.exists():
        problem = wanted.problem(path)
        if not problem:
            return _Found(_label(path), str(path.resolve()), "local")
        # A folder that merely shares the name of a hub repository is no reason to stop.
        if not (bare and path.is_dir()):
            raise UserError(problem)
        tried.append(problem)
        return None
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1 or extension(path) in folder_layout.EXTENSIONS
    if is_path or (not bare and path.parent.is_dir()):
        raise UserError(_no_such_path(wanted.noun, path))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UserError(f"{wanted.noun} {name!r} is neither a path nor a name of the form owner/name")
    tried.append(f"the path {name} (absent)")
    return None


def _no_such_path(noun: str, path: Path) -> str:
    parent = path.absolute().parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    return f"{noun}: {path} does not exist; in {parent}: {nearest(path.name, names[:40])}"


def _label(path: Path) -> str:
    """Return a name without any of the machine: the folder's, or the file's without its extensions."""
    name = path.resolve().name
    if path.is_file():
        name = name[: len(without_compression(name))]
        name = name.removesuffix(Path(name).suffix)
    return name or "root"


def _cached(wanted: _Wanted, name: str, ids: tuple[str, ...], tried: list[str]) -> _Found | None:
    for repo_id in ids:
        for folder in hub.snapshots(repo_id, wanted.repo_type):
            problem = wanted.problem(folder)
            if not problem and wanted.repo_type == "dataset":
                problem = folder_layout.missing_shards(folder)
            if not problem:
                return _Found(name, str(folder), "cache", folder.name)
            tried.append(problem)
        if wanted.repo_type == "dataset" and hub.in_datasets_cache(repo_id):
            return _Found(name, repo_id, "cache")
    tried.append(f"the cache {hub.hub_cache()} (no {' or '.join(ids)})")
    return None


def _from_hub(wanted: _Wanted, name: str, repo_id: str, tried: list[str]) -> _Found | None:
    if hub.is_offline():
        tried.append("not the hub (HF_HUB_OFFLINE is set)")
        return None
    if not hub_reachable():
        tried.append(f"the hub {hub.endpoint()} (not reachable: one request, at most {hub.PROBE_TIMEOUT_S:g} s)")
        return None
    try:
        folder = hub.download(repo_id, wanted.repo_type, wanted.choose)
    except UserError as error:
        raise UserError(f"{error}{_hint(wanted, name)}") from None
    except hub.HubUnavailable as error:
        tried.append(f"the hub {hub.endpoint()} ({error})")
        return None
    problem = wanted.problem(folder)
    if problem:
        raise UserError(problem)
    return _Found(name, str(folder), "hub", folder.name)


# --- what is a model, what is a data set -----------------------------------------------------------------------------


def model_files(names: Iterable[str], trust_remote_code: bool = False) -> list[str]:
    """Choose a repository's files to download: safetensors, configuration, tokenizer; no pickles, no code unasked."""
    own = [name for name in names if "/" not in name]
    # Some repositories hold the same weights twice, in another layout or precision.
    weights = chosen_weights(own)
    if not weights and ADAPTER not in own:  # of an adapter the rest says which model to give
        raise UserError(no_weights("the repository", sorted(own)))
    rest = (".json", ".txt", ".model", ".jinja") + ((".py",) if trust_remote_code else ())
    return [*weights, *(name for name in own if name.endswith(rest))]


def dataset_files(names: Iterable[str]) -> list[str]:
    """Choose a repository's files to download: data that can be read without running code, and its card."""
    return [name for name in names if extension(Path(name)) in folder_layout.EXTENSIONS or name == CARD]


def model_problem(folder: Path) -> str | None:
    """Return in a sentence why a folder is no whole model, None where it is one."""
    if not folder.is_dir():
        return f"{folder} must be a folder with config.json, *.safetensors and a tokenizer, got a file"
    if not (folder / "config.json").is_file() and not (folder / ADAPTER).is_file():
        if folder_layout.is_sweep(folder):
            return f"{folder} is the folder of a sweep, not a model"
        return f"{folder} is not a model: it has no config.json"
    problem = weights_problem(folder)
    if problem:
        return problem
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)})"
    return None


def data_problem(path: Path) -> str | None:
    """Return in a sentence why a path is no data set, None where it may be one."""
    if path.is_file():
        return folder_layout.unsupported(path)
    if folder_layout.is_sweep(path):
        return f"{path} is the folder of a sweep, not a data set"
    inside = [inner for inner in path.iterdir() if inner.is_dir() and not folder_layout.is_sweep(inner)]
    if folder_layout.data_files(path) or any(map(folder_layout.data_files, inside)):
        return None
    return f"{path} holds no data files ({', '.join(folder_layout.EXTENSIONS)}, also as .gz, .zst, .bz2, .xz)"
