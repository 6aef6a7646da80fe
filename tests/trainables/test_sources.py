"""Finding models and data: the one probe, the cache, a download from a hub on loopback, stand-ins and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainables import hub
from trainables.data import load_corpus
from trainables.errors import UserError
from trainables.pocket import model_folder
from trainables.sources import hub_reachable, model_fingerprint, resolve_data, resolve_model
from trainables.tokens import load_encoder

REAL_MODEL = Path(__file__).resolve().parents[3] / "shared" / "real" / "models" / "stories260K-llama"
SHA = "0123456789abcdef0123456789abcdef01234567"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, a hub that refuses connections, no proxy, no remembered probe."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("HF_") or name.endswith("_OFFLINE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(hub, "_answers", {})
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


class Hub:
    """A hub on loopback that serves repositories from memory and remembers what it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                outer.answer(self, status)

            do_GET = do_HEAD  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, status: int) -> None:
        self.asked.append(f"{handler.command} {handler.path}")
        path = handler.path.split("?")[0]
        headers = {"X-Error-Code": "RepoNotFound"}
        body = b""
        code = status if path.endswith("robots.txt") else 404
        if code in (301, 302):
            headers = {"Location": f"{self.address}/elsewhere"}
        for repo_id, content in self.repositories.items():
            listing = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in content.items()
            ]
            for kind, prefix in (("models", f"/{repo_id}"), ("datasets", f"/datasets/{repo_id}")):
                if path in (f"/api/{kind}/{repo_id}", f"/api/{kind}/{repo_id}/revision/main"):
                    siblings = [{"rfilename": name} for name in content]
                    code, body = 200, json.dumps({"id": repo_id, "sha": SHA, "siblings": siblings}).encode()
                if path == f"/api/{kind}/{repo_id}/tree/{SHA}":
                    code, body = 200, json.dumps(listing).encode()
                name = path.removeprefix(f"{prefix}/resolve/{SHA}/")
                if name != path and name in content:
                    code, body = 200, content[name]
                    headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": SHA}
        handler.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(key, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


@pytest.fixture
def live_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    live = Hub()
    monkeypatch.setenv("HF_ENDPOINT", live.address)
    yield live
    live.server.shutdown()
    live.server.server_close()


# --- the probe -------------------------------------------------------------------------------------------------------


def test_a_hub_that_answers_is_asked_once_by_one_head_request(live_hub: Hub) -> None:
    assert [hub_reachable() for _ in range(3)] == [True, True, True]
    assert live_hub.asked == ["HEAD /robots.txt"]


@pytest.mark.parametrize(("status", "reachable"), [(404, True), (302, True), (401, True), (500, False), (503, False)])
def test_any_answer_counts_but_a_broken_server_and_no_redirect_is_followed(
    monkeypatch: pytest.MonkeyPatch, status: int, reachable: bool
) -> None:
    live = Hub(status)
    monkeypatch.setenv("HF_ENDPOINT", live.address)
    assert hub_reachable() is reachable
    assert live.asked == ["HEAD /robots.txt"]
    live.server.shutdown()
    live.server.server_close()


def test_a_hub_that_refuses_connections_is_unreachable_at_once() -> None:
    start = time.monotonic()
    assert hub_reachable() is False
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("trickles", [False, True])
def test_a_hub_that_never_answers_is_given_up_after_3_seconds_without_a_retry(
    monkeypatch: pytest.MonkeyPatch, trickles: bool
) -> None:
    connections: list[socket.socket] = []
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            requests.append(connection.recv(4096))
            while trickles:  # a byte now and then, so that no socket timeout ever ends it
                try:
                    connection.send(b"H")
                except OSError:
                    return
                time.sleep(0.5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        start = time.monotonic()
        assert hub_reachable() is False
        assert 2.5 < time.monotonic() - start < 3.5
        assert hub_reachable() is False  # remembered
        assert time.monotonic() - start < 3.6
        assert len(requests) == 1
        assert requests[0].startswith(b"HEAD /robots.txt HTTP/1.1")
        for connection in connections:
            connection.close()


def test_asked_to_stay_offline_no_request_is_made(live_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_reachable() is False
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        resolve_model("gpt2")
    assert live_hub.asked == []


def test_the_probe_goes_through_a_proxy_where_one_is_set(live_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", live_hub.address)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    assert hub_reachable() is True
    assert live_hub.asked == ["HEAD http://hub.invalid/robots.txt"]


def test_the_probe_sends_no_token(live_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sent: list[str] = []
    monkeypatch.setattr(
        live_hub, "answer", lambda handler, status: (sent.append(str(handler.headers)), handler.close())
    )
    hub_reachable()
    assert sent
    assert "hf_secret" not in sent[0]


def test_going_offline_binds_the_libraries_loaded_before_and_after() -> None:
    program = (
        "import huggingface_hub, datasets.config, os\n"
        "from trainables.sources import go_offline\n"
        "assert not huggingface_hub.is_offline_mode()\n"
        "go_offline()\n"
        "assert huggingface_hub.is_offline_mode() and datasets.config.HF_HUB_OFFLINE\n"
        "assert os.environ['HF_HUB_OFFLINE'] == os.environ['HF_DATASETS_OFFLINE'] == '1'\n"
        "try: huggingface_hub.HfApi().model_info('gpt2')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OfflineModeIsEnabled"


# --- local paths -----------------------------------------------------------------------------------------------------


def small_model(folder: Path, **config: Any) -> Path:
    """Write a folder with all parts of a model: a real tokenizer is not needed to find it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_positions": 64, **config}))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(range(16)))
    return folder


def small_data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, split in enumerate(("train", "validation", "test")):
        rows = [{"dialogue": f"A: {number}", "summary": f"{number}."}]
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


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


def into_cache(repo_id: str, source: Path, kind: str = "models", revision: str = SHA, is_main: bool = True) -> Path:
    """Lay a folder out as the hub's cache does: blobs, and a snapshot of links to them."""
    root = Path(os.environ["HF_HOME"]) / "hub" / f"{kind}--{repo_id.replace('/', '--')}"
    snapshot = root / "snapshots" / revision
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    if is_main:
        (root / "refs" / "main").write_text(revision)
    return snapshot


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
from trainables.sources import go_offline, resolve_data
found = resolve_data("samsum", "auto", stand_in=True)
go_offline()
from trainables.data import load_corpus
corpus = load_corpus(found, "dialogue", "summary")
print(found.kind, found.location, [rows[0].source for rows in corpus.splits.values()])
"""


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


# --- a download ------------------------------------------------------------------------------------------------------


def repository(folder: Path) -> dict[str, bytes]:
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**content, "pytorch_model.bin": b"pickle", "modeling_own.py": b"code", "onnx/model.onnx": b"other"}


def test_a_model_is_downloaded_without_pickles_or_code_and_then_found_without_the_hub(
    tmp_path: Path, live_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_model(tmp_path / "m")
    live_hub.repositories["openai-community/gpt2"] = repository(folder)
    found = resolve_model("gpt2", stand_in=True)
    assert (found.label, found.kind, found.revision) == ("gpt2", "hub", SHA)
    assert sorted(path.name for path in Path(found.folder).iterdir()) == sorted(path.name for path in folder.iterdir())
    assert found.fingerprint == resolve_model(str(folder)).fingerprint
    assert sum("robots" in line for line in live_hub.asked) == 1
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = resolve_model("gpt2", stand_in=True)
    assert (again.folder, again.kind, again.fingerprint) == (found.folder, "cache", found.fingerprint)


def test_code_of_a_repository_comes_only_when_it_is_trusted(tmp_path: Path, live_hub: Hub) -> None:
    live_hub.repositories["owner/own"] = repository(small_model(tmp_path / "m"))
    found = resolve_model("owner/own", trust_remote_code=True)
    assert (Path(found.folder) / "modeling_own.py").is_file()
    assert not (Path(found.folder) / "pytorch_model.bin").exists()


def test_a_repository_with_pickles_alone_is_refused_before_any_download(tmp_path: Path, live_hub: Hub) -> None:
    content = repository(small_model(tmp_path / "m"))
    del content["model.safetensors"]
    live_hub.repositories["owner/old"] = content
    with pytest.raises(UserError, match=r"safetensors only; found pytorch_model.bin"):
        resolve_model("owner/old")
    assert not any("/resolve/" in line for line in live_hub.asked)


def test_a_name_that_the_hub_does_not_know_is_an_error_and_no_stand_in(live_hub: Hub) -> None:
    with pytest.raises(UserError, match=r"dataset 'samsun' is not on the hub .*did you mean 'samsum'"):
        resolve_data("samsun", stand_in=True)


def test_data_are_downloaded_and_read(live_hub: Hub) -> None:
    live_hub.repositories["knkarthick/samsum"] = {
        "train.csv": b'id,dialogue,summary\n1,"A: hi\r\nB: yo",They greet.\n',
        "validation.csv": b"id,dialogue,summary\n2,A: bye,A leaves.\n",
        "test.csv": b"id,dialogue,summary\n3,A: ok,A agrees.\n",
        "samsum.py": b"code",
        "README.md": b"---\n---\n",
    }
    found = resolve_data("samsum")
    corpus = load_corpus(found, "dialogue", "summary")
    assert (found.label, found.kind, found.revision) == ("samsum", "hub", SHA)
    assert corpus.splits["train"][0].source == "A: hi\nB: yo"
    assert not (Path(found.location) / "samsum.py").exists()


def test_a_hub_that_goes_silent_after_the_probe_lets_the_stand_in_in(live_hub: Hub) -> None:
    assert hub_reachable()
    live_hub.server.shutdown()
    live_hub.server.server_close()
    assert resolve_data("samsum", stand_in=True).kind == "bundled"


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
            file.write(b"\x07")
        assert model_fingerprint(folder) != first
        with path.open("r+b") as file:
            file.seek(place)
            file.write(before)
    assert model_fingerprint(folder) == first
