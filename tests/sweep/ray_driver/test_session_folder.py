"""The folder of Ray's session: closed to others, and gone once its driver is."""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.environment.lease import Process, start_of, this_host, this_process
from sweep.ray_driver.session_folder import give_own_token, new_folder, session_folder, take_token_back, token_path


def test_folders_of_killed_drivers_are_removed_and_no_others(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mine, other, foreign = (tmp_path / name for name in ("sw-mine", "sw-other", "sw-foreign"))
    owner = Process(this_host(), child.pid, start_of(child.pid) or 0)
    for folder, process in ((mine, this_process()), (other, owner), (foreign, replace(owner, host="elsewhere"))):
        folder.mkdir()
        (folder / "driver.json").write_text(json.dumps(vars(process)))
    (tmp_path / "sw-unknown").mkdir()
    new_folder(tmp_path)
    assert other.exists()
    child.kill()
    child.wait()
    new_folder(tmp_path)
    assert not other.exists()
    assert mine.exists()
    assert foreign.exists()
    assert (tmp_path / "sw-unknown").exists()


def test_a_folder_from_before_this_machine_started_is_removed(tmp_path: Path) -> None:
    left = new_folder(tmp_path)
    content = json.loads((left / "driver.json").read_text())
    other_boot = {**content, "host": "former-0123", "boot": "00000000-0000-0000-0000-000000000000"}
    (left / "driver.json").write_text(json.dumps(other_boot))
    elsewhere = new_folder(tmp_path)  # removes the one, and is itself left of another machine
    assert not left.exists()
    (elsewhere / "driver.json").write_text(json.dumps({**other_boot, "node": platform.node() + "-not"}))
    new_folder(tmp_path)
    assert elsewhere.exists()


def test_a_folder_is_its_users_alone_though_what_is_in_it_is_opened_to_all(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    os.chmod(session_folder(folder), 0o777)  # as Ray does
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_token_in_the_environment_gives_way_to_one_in_a_file_of_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    given = give_own_token(tmp_path)
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(token_path(tmp_path))
    assert stat.S_IMODE(token_path(tmp_path).stat().st_mode) == 0o600
    take_token_back(given)
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # beside a RAY_AUTH_TOKEN, which Ray's processes do not inherit
    take_token_back(give_own_token(tmp_path))
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/the/users/own")
    take_token_back(give_own_token(tmp_path))
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/the/users/own"
