"""The hub: one probe, staying offline, and downloads without pickles or code, against servers on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hub_on_loopback import SHA, Hub, live_hub, own_environment, small_model

from trainables.data.load_corpus import load_corpus
from trainables.data.sources import hub_reachable, resolve_data, resolve_model
from trainables.errors import UserError

__all__ = ["live_hub", "own_environment"]
pytestmark = pytest.mark.usefixtures("own_environment")


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_going_offline_binds_the_libraries_loaded_before_and_after() -> None:
    program = (
        "import huggingface_hub, datasets.config, os\n"
        "from trainables.data.sources import go_offline\n"
        "assert not huggingface_hub.is_offline_mode()\n"
        "go_offline()\n"
        "assert huggingface_hub.is_offline_mode() and datasets.config.HF_HUB_OFFLINE\n"
        "assert os.environ['HF_HUB_OFFLINE'] == os.environ['HF_DATASETS_OFFLINE'] == '1'\n"
        "try: huggingface_hub.HfApi().model_info('gpt2')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OfflineModeIsEnabled"


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
    assert hub_reachable() is False  # nothing else waits for it
