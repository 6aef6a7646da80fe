"""Finding models and data: local paths, the cache, stand-ins, refusals, and fingerprints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hub_on_loopback import SHA, Hub, into_cache, live_hub, own_environment, small_data, small_model

from trainables.data import hub
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import model_files, model_fingerprint, resolve_data, resolve_model
from trainables.errors import UserError
from trainables.pocket import model_folder
from trainables.tokenization.encoder import load_encoder

__all__ = ["live_hub", "own_environment"]
pytestmark = pytest.mark.usefixtures("own_environment")

REAL_MODEL = Path(__file__).resolve().parents[4] / "shared" / "real" / "models" / "stories260K-llama"


# --- local paths -----------------------------------------------------------------------------------------------------


def test_a_local_folder_is_used_whatever_the_source_and_named_without_its_place(tmp_path: Path, live_hub: Hub) -> None:
    folder = small_model(tmp_path / "here" / "my-model")
    data = small_data(tmp_path / "here" / "chats")
    for source in ("auto", "hub", "bundled"):
        found = resolve_model(f"{folder}/", source, stand_in=True)
        assert (found.label, found.folder, found.kind, found.revision) == ("my-model", str(folder), "local", None)
        found_data = resolve_data("../here/chats", source)
        assert (found_data.label, found_data.location, found_data.kind) == ("chats", str(data), "local")
    assert live_hub.asked == []


def test_a_local_file_is_named_without_its_extensions(tmp_path: Path) -> None:
    path = tmp_path / "pairs.v2.jsonl.gz"
    path.write_bytes(b"")
    assert resolve_data(str(path)).label == "pairs.v2"


def spoil(folder: Path, what: str) -> None:
    if what == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    if what == "config":
        (folder / "config.json").unlink()
    if what == "tokenizer":
        (folder / "tokenizer.json").unlink()
    if what == "pointer":
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    if what == "torn":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-8])
    if what == "shard":
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("pickle", "weights are read as safetensors only; found pytorch_model.bin, which can run code"),
        ("config", "is not a model: it has no config.json"),
        ("tokenizer", "has no tokenizer"),
        ("pointer", "is not a safetensors file"),
        ("torn", r"is not whole: it has [\d,]+ bytes, and its header says"),
        ("shard", "is not whole: model-00002-of-00002.safetensors is missing"),
    ],
)
def test_a_local_model_that_is_not_whole_is_refused(tmp_path: Path, what: str, said: str) -> None:
    folder = small_model(tmp_path / "m")
    spoil(folder, what)
    with pytest.raises(UserError, match=said):
        resolve_model(str(folder))


@pytest.mark.parametrize("name", ["{0}/chts", "../here/chts", "{0}/chts/deeper", "../here/chts.json"])
def test_an_unknown_path_names_the_nearest_of_its_folder_and_never_stands_in(tmp_path: Path, name: str) -> None:
    small_data(tmp_path / "here" / "chats")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"does not exist; in .*here: did you mean 'chats'"):
        resolve_data(name.format(tmp_path / "here"), stand_in=True)
    assert time.monotonic() - start < 2


def test_data_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"unsupported extension '.xlsx'"):
        resolve_data(str(tmp_path / "table.xlsx"))
    with pytest.raises(UserError, match="holds no data files"):
        resolve_data(str(tmp_path / "cwd"))


def test_a_folder_that_only_shares_the_name_of_a_repository_does_not_hide_it(live_hub: Hub) -> None:
    Path("samsum").mkdir()
    live_hub.repositories["knkarthick/samsum"] = {"train.csv": b"dialogue,summary\na,b\n"}
    assert resolve_data("samsum").kind == "hub"


@pytest.mark.parametrize("mark", ["sweep.json", ".lease.lock"])
def test_the_folder_of_a_sweep_is_neither_data_nor_model(live_hub: Hub, mark: str) -> None:
    for name in ("samsum", "gpt2"):
        Path(name, "data").mkdir(parents=True)
        Path(name, mark).write_text("{}")
        Path(name, "launches.jsonl").write_text("{}\n")
        Path(name, "data", "train-seed0.jsonl").write_text("{}\n")
    live_hub.repositories["knkarthick/samsum"] = {"train.csv": b"dialogue,summary\na,b\n"}
    assert resolve_data("samsum").kind == "hub"
    with pytest.raises(UserError, match=r"^samsum is the folder of a sweep, not a data set$"):
        resolve_data("./samsum")
    with pytest.raises(UserError, match=r"^gpt2 is the folder of a sweep, not a model$"):
        resolve_model("./gpt2")
    with pytest.raises(UserError, match=r"cwd holds no data files"):
        resolve_data(str(Path.cwd()))


def test_data_beside_a_file_that_is_called_as_a_sweeps_are_data(tmp_path: Path) -> None:
    (small_data(tmp_path / "chats") / "sweep.json").write_text("{}")
    assert resolve_data(str(tmp_path / "chats")).kind == "local"


# --- neither local, cached nor reachable -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["auto", "bundled"])
def test_the_bundled_data_stand_in_where_the_experiment_declares_it(source: str) -> None:
    found = resolve_data("samsum", source, stand_in=True)
    assert (found.label, found.location, found.kind) == ("pocket-chats", "pocket-chats", "bundled")


@pytest.mark.skipif(not model_folder().is_dir(), reason="the pocket model is not built")
def test_the_bundled_model_stands_in_and_is_found_by_its_name() -> None:
    found = resolve_model("gpt2", stand_in=True)
    assert (found.label, found.folder, found.kind) == ("pocket-gpt2", str(model_folder()), "bundled")
    assert resolve_model("pocket-gpt2", "hub") == found


def test_a_refusal_names_all_that_was_tried(tmp_path: Path) -> None:
    for source, stand_in in (("hub", True), ("auto", False)):
        start = time.monotonic()
        with pytest.raises(UserError) as caught:
            resolve_model("gpt2", source, stand_in)
        assert time.monotonic() - start < 5
        for part in ("model 'gpt2'", "the path gpt2", str(tmp_path / "hf" / "hub"), os.environ["HF_ENDPOINT"], "3 s"):
            assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("gpt3", "auto", "'gpt3' was not found; .* did you mean 'gpt2'"),
        ("gpt2", "hubb", "source 'hubb' is unknown; did you mean 'hub'"),
        ("gpt2", "bundled", "no bundled model is declared for 'gpt2'; ask for 'pocket-gpt2'"),
        ("not a name!", "auto", "neither a path nor a name of the form owner/name"),
    ],
)
def test_wrong_names_are_refused(name: str, source: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve_model(name, source)


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_MODEL.is_dir(), reason="../shared/real is absent")
@pytest.mark.parametrize("repo_id", ["openai-community/gpt2", "gpt2"])
def test_a_cached_real_model_is_found_offline_by_its_short_name(repo_id: str) -> None:
    snapshot = into_cache(repo_id, REAL_MODEL)
    found = resolve_model("gpt2", "hub", stand_in=True)
    assert (found.label, found.folder, found.kind, found.revision) == ("gpt2", str(snapshot), "cache", SHA)
    assert load_encoder(found.folder).bos_ids == (1,)
    assert found.fingerprint == resolve_model(str(REAL_MODEL)).fingerprint


def test_the_main_branch_comes_before_newer_snapshots_and_unfinished_ones_are_passed_over(tmp_path: Path) -> None:
    whole = small_model(tmp_path / "whole")
    partial = small_model(tmp_path / "partial")
    spoil(partial, "pickle")
    into_cache("owner/name", whole, revision="a" * 40)
    into_cache("owner/name", whole, revision="b" * 40, is_main=False)
    assert resolve_model("owner/name").revision == "a" * 40
    into_cache("owner/name", partial, revision="c" * 40)
    assert resolve_model("owner/name").revision in {"a" * 40, "b" * 40}


def test_a_cache_with_pickles_alone_is_no_model(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "m")
    spoil(folder, "pickle")
    into_cache("gpt2", folder)
    with pytest.raises(UserError, match=r"weights are read as safetensors only; found pytorch_model.bin"):
        resolve_model("gpt2")


def test_a_link_whose_blob_is_gone_is_no_model(tmp_path: Path) -> None:
    snapshot = into_cache("gpt2", small_model(tmp_path / "m"))
    (snapshot / "model.safetensors").resolve().unlink()
    with pytest.raises(UserError, match="was not found"):
        resolve_model("gpt2")


def test_cached_data_are_found_and_read_offline(tmp_path: Path) -> None:
    into_cache("knkarthick/samsum", small_data(tmp_path / "d"), "datasets")
    found = resolve_data("samsum", stand_in=True)
    assert (found.label, found.kind, found.revision) == ("samsum", "cache", SHA)
    assert load_corpus(found, "dialogue", "summary").splits["test"][0].references == ("2.",)


def test_a_cached_data_set_that_lacks_a_shard_is_passed_over_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for split in ("train", "validation", "test"):
        (whole / f"{split}-00000-of-00001.jsonl").write_text("{}")
    snapshot = into_cache("owner/chats", whole, "datasets", revision="a" * 40)
    assert resolve_data("owner/chats").location == str(snapshot)
    (snapshot / "train-00000-of-00001.jsonl").rename(snapshot / "train-00000-of-00002.jsonl")
    with pytest.raises(UserError, match=r"train-00001-of-00002.jsonl missing"):
        resolve_data("owner/chats")


PREPARE = """
import sys, datasets
rows = lambda start: datasets.Dataset.from_list([{"dialogue": f"A: {start}", "summary": f"{start}."}])
for number, split in enumerate(["train", "validation", "test"]):
    rows(number).to_json(f"{sys.argv[1]}/{split}.jsonl")
files = {split: f"{sys.argv[1]}/{split}.jsonl" for split in ["train", "validation", "test"]}
builder = datasets.load_dataset_builder("json", data_files=files)
builder.download_and_prepare()
print(builder.cache_dir)
"""

READ = """
from trainables.data.sources import go_offline, resolve_data
found = resolve_data("samsum", "auto", stand_in=True)
go_offline()
from trainables.data.load_corpus import load_corpus
corpus = load_corpus(found, "dialogue", "summary")
print(found.kind, found.location, [rows[0].source for rows in corpus.splits.values()])
"""


@pytest.mark.slow
def test_a_layout_that_only_its_card_explains_is_read_through_the_datasets_library(tmp_path: Path) -> None:
    snapshot = into_cache("knkarthick/samsum", small_data(tmp_path / "d"), "datasets")
    (snapshot / "parts").mkdir()
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for name, split in (("alpha", "train"), ("beta", "validation"), ("gamma", "test")):
        shutil.copyfile(snapshot / f"{split}.json", snapshot / "parts" / f"{name}.json")
        (snapshot / f"{split}.json").unlink()
        lines += [f"  - split: {split}", f"    path: parts/{name}.json"]
    (snapshot / "README.md").write_text("\n".join([*lines, "---", ""]))
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"cache {snapshot} ['A: 0', 'A: 1', 'A: 2']"


@pytest.mark.slow
def test_data_that_the_datasets_library_prepared_are_read_offline(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(tmp_path / "raw")], capture_output=True, text=True, check=True
    )
    prepared = Path(done.stdout.splitlines()[-1])
    target = hub.datasets_cache() / "knkarthick___samsum" / "default" / "0.0.0" / SHA
    target.parent.mkdir(parents=True)
    shutil.copytree(prepared, target)
    for path in target.glob("json-*.arrow"):
        path.rename(path.with_name(path.name.replace("json-", "samsum-")))
    info = json.loads((target / "dataset_info.json").read_text())
    info.update(dataset_name="samsum", config_name="default", builder_name="json")
    (target / "dataset_info.json").write_text(json.dumps(info))
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cache knkarthick/samsum ['A: 0', 'A: 1', 'A: 2']"


def test_of_a_repository_those_weights_are_fetched_that_are_loaded() -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    rest = ["config.json", "consolidated.safetensors", "model.fp16.safetensors", "pytorch_model.bin"]
    assert model_files([*rest, *shards]) == [*shards[:2], "config.json", shards[2]]
    assert model_files([*rest, *shards, "model.safetensors"])[0] == "model.safetensors"
    assert model_files(["adapter_config.json", "adapter_model.safetensors"]) == ["adapter_config.json"]
    with pytest.raises(UserError, match=r"the repository has .* the variant model.fp16.safetensors: rename"):
        model_files(rest)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_a_fingerprint_follows_weights_configuration_and_tokenizer_alone(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "a")
    first = model_fingerprint(folder)
    assert model_fingerprint(small_model(tmp_path / "b", transformers_version="5.0", _name_or_path="x")) == first
    assert model_fingerprint(small_model(tmp_path / "c", n_positions=65)) != first
    for name in ("model.safetensors", "tokenizer.json"):
        other = small_model(tmp_path / name)
        (other / name).write_bytes((other / name).read_bytes()[:-1] + b"!")
        assert model_fingerprint(other) != first


def test_a_large_file_is_sampled_from_end_to_end_in_little_time(tmp_path: Path) -> None:
    folder = small_model(tmp_path / "large")
    path = folder / "model.safetensors"
    with path.open("r+b") as file:  # sparse: 8 GiB that take no room
        file.truncate(8 * 2**30)
    start = time.monotonic()
    first = model_fingerprint(folder)
    assert time.monotonic() - start < 2
    for place in (20, 8 * 2**30 - 1):  # in the header, and the last byte
        with path.open("r+b") as file:
            file.seek(place)
            before = file.read(1)
            file.seek(place)
            file.write(b"x")
        assert model_fingerprint(folder) != first
        with path.open("r+b") as file:
            file.seek(place)
            file.write(before)
    assert model_fingerprint(folder) == first
