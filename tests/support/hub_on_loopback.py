"""A model hub on loopback, an environment of one's own around it, and small repositories for it to serve."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainables.data import hub

SHA = "0123456789abcdef0123456789abcdef01234567"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
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

            do_GET = do_HEAD

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
