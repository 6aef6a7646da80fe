"""The files that a model's weights are read from, chosen as transformers chooses them, and their headers (no torch)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainables.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
VARIANT = re.compile(r"model\.(\w+)(-\d+-of-\d+)?\.safetensors")
ADAPTER = "adapter_config.json"
GENERATION = "generation_config.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
COMPARED, COMPARED_BYTES = 64, 4096  # pieces of two sets of weights, to tell whether they are the same


class TensorEntry(NamedTuple):
    """An entry of a safetensors header: `begin` and `end` count from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def json_of(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises UserError for anything else."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a valid JSON object ({error})") from None


def generation_of(folder: Path) -> dict[str, Any]:
    """Read a model's generation_config.json, empty where there is none; raises UserError where it is damaged.

    transformers passes over one that it cannot read, one with a byte order mark too: texts would end elsewhere unsaid.
    """
    path = Path(folder) / GENERATION
    try:
        return json_of(path) if path.is_file() else {}
    except UserError:
        content = path.read_bytes()
        why = "is empty" if not content.strip() else "is not a JSON object"
        why = "begins with a byte order mark" if content.startswith(b"\xef\xbb\xbf") else why
        raise UserError(
            f"{path} is damaged ({why}), and transformers would go on without its ends of text; the file is optional: "
            "mend it, or remove it to take those of config.json"
        ) from None


def config_of(folder: Path) -> dict[str, Any]:
    """Read a model's configuration; raises UserError where it is absent or damaged."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json")
    return json_of(path)


def weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers reads, those missing on disk included where an index names them."""
    named = config_of(folder).get("transformers_weights") if (folder / "config.json").is_file() else None
    if isinstance(named, str) and not named.endswith(".index.json"):
        return [folder / named]
    if (folder / SINGLE).is_file() and not named:
        return [folder / SINGLE]
    return _shards(folder / (named or INDEX))


def _shards(index: Path) -> list[Path]:
    if not index.is_file():
        return []
    names = json_of(index).get("weight_map", {}).values()
    return [index.parent / name for name in sorted({str(name) for name in names})]


def tensors_of(path: Path) -> dict[str, TensorEntry]:
    """Return the header of a safetensors file; raises UserError for another file and for one that is cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = int.from_bytes(file.read(8), "little") + 8  # length of the JSON header, then that, then the tensors
        if not 8 < start <= size:
            raise UserError(f"{path} is not a safetensors file (unfinished, or a pointer to large-file storage?)")
        try:
            header = json.loads(file.read(start - 8))
            found = {name: _tensor(one, start) for name, one in header.items() if name != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError(f"{path} is not a safetensors file: its header is damaged") from None
    end = max((one.end for one in found.values()), default=0)
    if size < end:
        raise UserError(f"{path} is not whole: it has {size:,} bytes, and its header says {end:,}")
    return found


def _tensor(entry: dict[str, Any], start: int) -> TensorEntry:
    begin, end = entry["data_offsets"]
    return TensorEntry(str(entry.get("dtype")), tuple(entry["shape"]), start + int(begin), start + int(end))


def weights_problem(folder: Path) -> str | None:
    """Return in a sentence why a folder's weights cannot be what is meant, None where they can."""
    problem = adapter_problem(folder)
    if problem:
        return problem
    files = weight_files(folder)
    if not files:
        return no_weights(str(folder), [path.name for path in sorted(folder.iterdir()) if path.is_file()])
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        return f"{folder} is not whole: {', '.join(missing)} is missing"
    shards = _shards(folder / INDEX)
    rivals = files == [folder / SINGLE] and any(path.is_file() for path in shards)
    if rivals and not _same_weights(files, shards):
        return (
            f"{folder} holds two different sets of weights: {SINGLE}, which would be loaded, and the {len(shards)} "
            f"shards of {INDEX}; move those that are not meant out of the folder"
        )
    return None


def adapter_problem(folder: Path) -> str | None:
    """Say what to do with a folder that holds an adapter, alone or beside weights; None for others."""
    if not (folder / ADAPTER).is_file():
        return None
    if not weight_files(folder):
        base = json_of(folder / ADAPTER).get("base_model_name_or_path")
        where = f"give {str(base)!r}" if base else f"its {ADAPTER} does not name the base; give that"
        return f"{folder} is an adapter, not a model: {where} as the model in its place"
    return (
        f"{folder} holds an adapter beside its weights, which transformers would apply without a word: move {ADAPTER} "
        "and adapter_model.safetensors elsewhere, or merge them into the base (merge_and_unload in PEFT)"
    )


def no_weights(where: str, names: Sequence[str]) -> str:
    """Say that no weights can be read among files of these names, and what is there in their place."""
    variants = [name for name in names if VARIANT.fullmatch(name)]
    shards = [name for name in names if SHARD.fullmatch(name)]
    other = [name for name in names if name.endswith(".safetensors")]
    pickles = [name for name in names if name.endswith(PICKLES)]
    if variants:
        return f"{where} has no {SINGLE}, but the variant {variants[0]}: rename it to {_plain(variants[0])}"
    if shards:
        return f"{where} has the shards {_few(shards)} without {INDEX}, which says what is in each; fetch that too"
    if "consolidated.safetensors" in other:
        return f"{where} has no {SINGLE}, but consolidated.safetensors, whose layout is not that of transformers"
    if other:
        return f"{where} has no {SINGLE}; found {_few(other)}, which transformers does not read by that name"
    found = f"; found {', '.join(pickles)}, which can run code when loaded" if pickles else ""
    gguf = [name for name in names if name.endswith(".gguf")]
    found += f"; found {_few(gguf)}: take the model that it was made from" if gguf else ""
    return f"{where} has no *.safetensors: weights are read as safetensors only{found}"


def _plain(variant: str) -> str:
    return re.sub(r"^model\.\w+?(-|\.)", r"model\1", variant)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def chosen_weights(names: Iterable[str]) -> list[str]:
    """Return which of a repository's weights transformers reads: one file, or shards; empty where it reads none."""
    own = list(names)
    return [SINGLE] if SINGLE in own else [name for name in own if SHARD.fullmatch(name) and INDEX in own]


def _same_weights(files: Sequence[Path], others: Sequence[Path]) -> bool:
    """Tell whether two sets of files hold the same tensors, by all headers and pieces of the largest content."""
    if any(not path.is_file() for path in others):
        return False
    first, second = _placed(files), _placed(others)
    if {name: one[:2] for name, (_, one) in first.items()} != {name: one[:2] for name, (_, one) in second.items()}:
        return False
    names = sorted(first)
    chosen = {names[len(names) * number // COMPARED] for number in range(COMPARED)} if names else set()
    return all(_middle(*first[name]) == _middle(*second[name]) for name in chosen)


def _placed(paths: Sequence[Path]) -> dict[str, tuple[Path, TensorEntry]]:
    return {name: (path, one) for path in paths for name, one in tensors_of(path).items()}


def _middle(path: Path, one: TensorEntry) -> bytes:
    with path.open("rb") as file:
        file.seek(max(one.begin, (one.begin + one.end - COMPARED_BYTES) // 2))
        return file.read(min(COMPARED_BYTES, one.end - one.begin))
