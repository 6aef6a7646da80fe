"""The folder of a launch for Ray's session: this user's alone, in the system's temporary folder, removed with it.

Ray opens its own folder to everybody (0777), so it lies within one of ours (0700).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import tempfile
from pathlib import Path

from sweep.environment.lease import Process, this_process

SESSION = "r"  # within the folder; one letter, since a socket's path holds 107


def new_folder(parent: Path) -> Path:
    """Make a folder for a launch, and remove those whose driver was killed."""
    for old in parent.glob("sw-*/driver.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            if _is_dead(json.loads(old.read_text(encoding="utf-8"))):
                shutil.rmtree(old.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="sw-", dir=parent))  # 0700
    content = {**vars(this_process()), "node": platform.node(), "boot": _boot()}
    (folder / "driver.json").write_text(json.dumps(content), encoding="utf-8")
    session_folder(folder).mkdir()
    return folder


def session_folder(folder: Path) -> Path:
    """Return where Ray may make its session within a launch's folder."""
    return folder / SESSION


def _is_dead(left: dict[str, object]) -> bool:
    node, boot = left.pop("node", None), left.pop("boot", None)
    if node == platform.node() and boot and boot != _boot():
        return True  # this machine has started anew since
    return Process(**left).is_dead  # type: ignore[arg-type]


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def give_own_token(folder: Path) -> dict[str, str]:
    """Let only this launch talk to its Ray: a token of its own, in its own folder, gone with it.

    Returns the variables that were set for it. Left alone, Ray writes one into the home folder, which may be read-only
    and is not ours to change.
    """
    if "RAY_AUTH_TOKEN_PATH" in os.environ or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return {}  # the user has decided
    path = token_path(folder)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="ascii")
    wanted = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    given = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(given)
    return given


def take_token_back(given: dict[str, str]) -> None:
    """Remove the variables of `give_own_token`, unless they have other values by now; safe to call twice."""
    for name, value in given.items():
        if os.environ.get(name) == value:
            del os.environ[name]


def token_path(folder: Path) -> Path:
    return folder / "auth_token"


def short_temporary_folder() -> str:
    """Return the system's temporary folder, or /tmp where its name is too long for a socket's path."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= 20 or not os.path.isdir("/tmp") else "/tmp"
