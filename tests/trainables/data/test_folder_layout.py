"""Which files of a folder are data: hidden files, shards, files beside the data, folders of splits, configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainables.data.corpus import Corpus
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource, resolve_data
from trainables.errors import UserError

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")


def rows(start: int, count: int = 2) -> list[dict[str, str]]:
    return [
        {"id": f"r{number}", "dialogue": f"Ann: text {number}", "summary": f"About {number}."}
        for number in range(start, start + count)
    ]


def write(path: Path, start: int, count: int = 2) -> Path:
    """Write rows that no other call with another `start` has, in the format of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows(start, count)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows(start, count)), encoding="utf-8")
    return path


def splits(folder: Path, start: int = 0, ending: str = ".jsonl") -> Path:
    for number, split in enumerate(("train", "validation", "test")):
        write(folder / f"{split}{ending}", start + 10 * number)
    return folder


def load(place: Path, configuration: str | None = None) -> Corpus:
    found = DataSource(place.name, str(place), "local", configuration=configuration)
    return load_corpus(found, "dialogue", "summary")


def ids(corpus: Corpus, split: str = "train") -> list[str]:
    return [example.id for example in corpus.splits[split]]


# --- hidden files and files about the data ----------------------------------------------------------------------------


def test_hidden_files_and_files_about_the_data_are_no_data(tmp_path: Path) -> None:
    plain = load(splits(tmp_path / "plain"))
    folder = splits(tmp_path / "full")
    (folder / "._train.jsonl").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    (folder / ".DS_Store.json").write_bytes(b"\x00")
    for name in ("dataset_infos.json", "README.md", "LICENSE"):
        (folder / name).write_text("{}")
    found = load(folder)
    assert (found.splits, found.fingerprint) == (plain.splits, plain.fingerprint)
    assert "notes" not in found.report


def test_a_single_file_beside_files_about_it_is_the_data(tmp_path: Path) -> None:
    write(tmp_path / "pairs.jsonl", 0, 60)
    (tmp_path / "dataset_info.json").write_text('{"features": {}}')
    assert sum(found["read"] for found in load(tmp_path).report["splits"].values()) == 60


@needs_cases
def test_the_resource_forks_that_a_mac_leaves_are_skipped() -> None:
    corpus = load(CASES / "macos-resource-fork")
    assert {split: len(examples) for split, examples in corpus.splits.items()} == {
        "train": 60,
        "validation": 30,
        "test": 30,
    }


# --- shards -----------------------------------------------------------------------------------------------------------


@needs_cases
def test_a_missing_shard_is_refused_by_its_name() -> None:
    with pytest.raises(UserError, match=r"is not whole: train-00001-of-00002\.parquet missing"):
        load(CASES / "missing-shard")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train-00001-of-00003", "train-00002-of-00003"], "train-00000-of-00003.jsonl missing"),
        (["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"], "more than one set of shards"),
        (["train-00000-of-00001-aaa", "train-00000-of-00001-bbb"], "more than one set of shards"),
        (["a-train-00000-of-00001", "b-train-00000-of-00002"], "b-train-00001-of-00002.jsonl missing"),
    ],
)
def test_shards_that_are_not_one_whole_set_are_refused(tmp_path: Path, names: list[str], said: str) -> None:
    splits(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    for number, name in enumerate(names):
        write(tmp_path / f"{name}.jsonl", 100 + 10 * number)
    with pytest.raises(UserError, match=said):
        load(tmp_path)


def test_shards_counted_from_one_are_whole(tmp_path: Path) -> None:
    splits(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    for number in (1, 2):
        write(tmp_path / f"train-0000{number}-of-00002.jsonl", 100 * number)
    assert ids(load(tmp_path)) == ["r100", "r101", "r200", "r201"]


# --- files beside the data --------------------------------------------------------------------------------------------


@needs_cases
def test_a_second_train_file_is_named_as_not_read() -> None:
    corpus = load(CASES / "second-train-file")
    assert corpus.report["splits"]["train"]["read"] == 60
    assert corpus.report["notes"] == ["files that are not read: train_part2.jsonl"]


def test_every_data_file_that_is_not_read_is_named_once(tmp_path: Path) -> None:
    folder = splits(tmp_path)
    for name in ("extra.csv", "more/part.json", "old.zip", "notes.txt", "data/train.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (note,) = load(folder).report["notes"]
    assert note == "files that are not read: data/train.jsonl, extra.csv, more/part.json, old.zip"


def test_a_format_that_was_not_read_before_never_takes_the_place_of_one_that_was(tmp_path: Path) -> None:
    folder = splits(tmp_path / "plain")
    before = load(folder).fingerprint
    (folder / "train.tsv").write_text("dialogue\tsummary\na\tb\n")
    found = load(folder)
    assert found.fingerprint == before
    assert found.report["notes"] == ["files that are not read: train.tsv"]


def test_folders_named_for_splits_are_read(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "dev", "test")):
        write(tmp_path / split / "part.jsonl", 10 * number)
    found = load(tmp_path)
    assert ids(found, "validation") == ["r10", "r11"]
    write(tmp_path / "train" / "part2.jsonl", 90)
    with pytest.raises(
        UserError, match=r"more than one file for the train split \(train/part.jsonl, train/part2.jsonl"
    ):
        load(tmp_path)


# --- configurations ---------------------------------------------------------------------------------------------------


def card(folder: Path, *names: str, default: str = "") -> Path:
    """Write a data set of several configurations with the card that explains them."""
    lines = ["---", "configs:"]
    for number, name in enumerate(names):
        splits(folder / name, 1000 * (number + 1), "-00000-of-00001.parquet")
        lines += [f"- config_name: {name}", *(["  default: true"] if name == default else []), "  data_files:"]
        for split in ("train", "validation", "test"):
            lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# a card", ""]))
    return folder


def test_several_configurations_are_listed_and_one_is_read_by_its_name(tmp_path: Path) -> None:
    folder = card(tmp_path / "chats", "short", "long")
    with pytest.raises(UserError, match=r"have 2 configurations \(short, long\) .* --data NAME:short"):
        load(folder)
    found = load(folder, "long")
    assert ids(found) == ["r2000", "r2001"]
    assert found.report["notes"] == ["configurations that are not read: short"]
    with pytest.raises(UserError, match=r"configuration 'lnog' is not in the data 'chats'; did you mean 'long'"):
        load(folder, "lnog")


def test_the_cards_default_is_read_where_none_is_named_and_the_others_are_said(tmp_path: Path) -> None:
    assert ids(load(card(tmp_path / "a", "short", "default"))) == ["r2000", "r2001"]
    found = load(card(tmp_path / "b", "short", "long", default="short"))
    assert (ids(found), found.report["notes"]) == (["r1000", "r1001"], ["configurations that are not read: long"])


def test_a_card_decides_where_names_would_read_another_file(tmp_path: Path) -> None:
    folder = card(tmp_path, "new", default="new")
    splits(folder, 0)
    found = load(folder)
    assert ids(found) == ["r1000", "r1001"]
    assert found.report["notes"] == ["files that are not read: test.jsonl, train.jsonl, validation.jsonl"]


def test_a_card_reaches_no_file_outside_its_folder(tmp_path: Path) -> None:
    splits(tmp_path / "other")
    folder = splits(tmp_path / "own", 100)
    outside = f"../other/train.jsonl\n  - {tmp_path}/other/train.jsonl"
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: a\n  data_files:\n  - {outside}\n---\n")
    assert ids(load(folder)) == ["r100", "r101"]


def test_folders_of_data_beside_one_another_are_configurations(tmp_path: Path) -> None:
    for number, name in enumerate(("en", "de")):
        splits(tmp_path / name, 1000 * number)
    with pytest.raises(UserError, match=r"have 2 configurations \(de, en\)"):
        load(tmp_path)
    assert ids(load(tmp_path, "de")) == ["r1000", "r1001"]
    with pytest.raises(UserError, match="configuration 'x' is not in the data 'en'; it has none"):
        load(tmp_path / "en", "x")


@needs_cases
def test_a_cached_data_set_with_configurations_lists_them_and_reads_the_one_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(CASES / "many-configs" / "hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"2 configurations \(short, long\)"):
        load_corpus(resolve_data("lab/chats"), "dialogue", "summary")
    import pyarrow.parquet

    for name in ("short", "long"):
        found = resolve_data(f"lab/chats:{name}")
        corpus = load_corpus(found, "dialogue", "summary")
        path = next(CASES.glob(f"many-configs/hub/*/snapshots/*/{name}/train-*"))
        assert (found.label, found.kind) == (f"lab/chats:{name}", "cache")
        assert [one.source for one in corpus.splits["train"]] == pyarrow.parquet.read_table(path)[
            "dialogue"
        ].to_pylist()


def test_a_local_folder_takes_a_configuration_behind_a_colon(tmp_path: Path) -> None:
    card(tmp_path / "chats", "short", "long")
    found = resolve_data(f"{tmp_path}/chats:short")
    assert (found.label, found.location, found.configuration) == ("chats:short", str(tmp_path / "chats"), "short")
    splits(tmp_path / "a:b")
    assert resolve_data(f"{tmp_path}/a:b").configuration is None


def test_configurations_that_the_datasets_library_prepared_are_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("en", "de"):
        info = tmp_path / "lab___chats" / name / "0.0.0" / "abc" / "dataset_info.json"
        info.parent.mkdir(parents=True)
        info.write_text("{}")
    with pytest.raises(UserError, match=r"have 2 configurations \(de, en\) .* --data NAME:de"):
        load_corpus(resolve_data("lab/chats"), "dialogue", "summary")


def stating(folder: Path, *configs: str) -> Path:
    """Write a card of these configurations, each a YAML mapping on one line."""
    lines = ["---", "configs:", *(f"- {{{one}}}" for one in configs), "---", ""]
    (folder / "README.md").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("data_files: [{split: train, path: 'a/train-*'}]", r"'a' of the data 'chats' states a/train-\* in its card"),
        ("data_files: {train: train.jsonl, test: a/test.jsonl}", "states a/test.jsonl in its card"),
        ("data_files: [train.jsonl, 'hf://datasets/x/more.jsonl']", "states hf://datasets/x/more.jsonl in its card"),
        ("data_dir: ../b", r"states ../b/\* in its card"),
        ("data_dir: gone", r"states gone/\* in its card"),
        ("data_files: '{a,**b}'", "in its card, and no such data file"),
    ],
)
def test_a_named_configuration_whose_files_are_missing_is_refused_with_what_it_states(
    tmp_path: Path, stated: str, said: str
) -> None:
    folder = stating(splits(tmp_path / "chats"), f"config_name: a, {stated}", "config_name: b, data_files: train.jsonl")
    with pytest.raises(UserError, match=said):
        load(folder, "a")


def test_a_named_configuration_never_reads_the_files_of_another(tmp_path: Path) -> None:
    folder = stating(splits(tmp_path), "config_name: a", "config_name: b, data_files: '*.jsonl'")
    with pytest.raises(UserError, match=r"'a' of .* states no files, and all that are named .* are of another \(b\)"):
        load(folder, "a")
    stating(folder, "config_name: default", "config_name: b, data_files: '*.jsonl'")
    assert ids(load(folder), "test") == ["r20", "r21"]
    splits(tmp_path / "inner", 1000)
    stating(folder, "config_name: a, data_dir: inner", "config_name: b, data_files: '*.jsonl'")
    assert ids(load(folder, "a")) == ["r1000", "r1001"]
    with pytest.raises(UserError, match=r"configuration 'a' is not in the data 'train.jsonl'; it has none"):
        load(folder / "train.jsonl", "a")


@pytest.mark.parametrize("path", ["'train*'", "'*.jsonl'", "[train.jsonl]"])
def test_splits_that_a_card_leaves_out_are_read_by_name(tmp_path: Path, path: str) -> None:
    plain = load(splits(tmp_path / "plain"))
    stated = f"config_name: default, data_files: [{{split: train, path: {path}}}]"
    folder = stating(splits(tmp_path / "own"), stated)
    for wanted in (None, "default"):
        found = load(folder, wanted)
        assert (found.fingerprint, found.splits) == (plain.fingerprint, plain.splits)
        (note,) = found.report["notes"]
        assert note.endswith("files named for them: validation (validation.jsonl), test (test.jsonl)")


def test_what_a_card_gives_literally_or_to_another_configuration_fills_no_split(tmp_path: Path) -> None:
    folder = splits(tmp_path)
    stating(folder, "config_name: default, data_files: [train.jsonl, validation.jsonl]")
    with pytest.raises(UserError, match="has no validation split; found: train, test"):
        load(folder)
    other = "config_name: b, data_files: [{split: validation, path: validation.jsonl}]"
    stating(folder, "config_name: default, data_files: train.jsonl", other)
    with pytest.raises(UserError, match="has no validation split; found: train, test"):
        load(folder)


def test_files_named_for_splits_are_read_where_no_configuration_has_its_own(tmp_path: Path) -> None:
    plain = load(splits(tmp_path / "plain"))
    folder = splits(tmp_path / "own")
    stating(folder, "config_name: a, data_files: 'a/*'", "config_name: b, data_files: 'b/*'")
    found = load(folder)
    assert found.fingerprint == plain.fingerprint
    assert found.report["notes"] == ["no file that the card states for a, b is here: files are read by their names"]
    with pytest.raises(UserError, match=r"configuration 'a' of the data 'own' states a/\* in its card"):
        load(folder, "a")
    splits(folder / "b", 1000)
    with pytest.raises(UserError, match=r"have 2 configurations \(a, b\)"):
        load(folder)
