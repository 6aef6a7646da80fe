"""What Ray's processes inherit of the environment: all but secrets, which they need for nothing (no ray, no torch).

A list of what is denied, by name and by the look of the value, since what is needed (CUDA, MKL, proxies, caches, module
paths, a cluster's own variables) has no end. Whatever is downloaded, this process downloads before Ray starts.
PACKSWEEP_PASS_ENV=NAME,NAME passes variables on that a user's own code, a metric's script, has to have.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, MutableMapping
from pathlib import Path

from trainables import secret_variables

SECRET_WORDS = {"PASS", "PASSPHRASE", "PAT", "AUTH", "COOKIE", "COOKIES", "DSN", "WEBHOOK", "CREDS"}
SECRET_ENDINGS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "KEY")  # of a word, in the singular
SECRET_NAMES = re.compile(r"CONNECTION_?STRING|ACCESS_?KEY|API_?KEY", re.IGNORECASE)
# The way to a token, which is a file of this user's alone, and names without values.
OURS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", secret_variables.PASS_ENV, secret_variables.WITHHELD)
RAYS_TOKEN = "RAY_AUTH_TOKEN"  # with which a cluster is joined
PATHS = re.compile(r"(PATH|HOME|DIR|ROOT|PREFIX|FOLDER|CACHE|PWD)S?$", re.IGNORECASE)


def _token(pattern: str) -> str:
    """Return a pattern for a token, not for a part of a path that looks like one; a login of an address may be one."""
    return rf"(?:(?<![\w/\\.-])|(?<=://)(?=[^\s/]+@)){pattern}(?![\w.-]*[/\\])"


HUB_TOKEN = _token(r"hf_[A-Za-z0-9]{8,}")
TOKENS = (
    *(HUB_TOKEN, _token(r"gh[pousr]_[A-Za-z0-9]{20,}"), _token(r"github_pat_\w{20,}"), _token(r"glpat-[\w-]{20,}")),
    *(_token(r"sk-[\w-]{20,}"), _token(r"xox[abeprs]-[\w-]{10,}"), _token(r"A[KS]IA[A-Z0-9]{16}\b")),
    _token(r"eyJ[\w-]{10,}\.[\w-]{10,}"),
)
LOGIN = r"\w://[^\s/:@]*:[^\s/@]+@"  # an address with a password
SECRET_VALUES = re.compile("|".join((*TOKENS, "-----BEGIN [A-Z ]*PRIVATE KEY", LOGIN)))


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable of the environment may hold a secret."""
    if name in OURS:
        return False
    words = [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word]
    return (
        any(word in SECRET_WORDS or word.removesuffix("S").endswith(SECRET_ENDINGS) for word in words)
        or (len(words) > 1 and words[-1] == "PWD")  # alone it is the folder
        or SECRET_NAMES.search(name) is not None
        or (not _is_path(name, value) and SECRET_VALUES.search(value) is not None)
    )


def _is_path(name: str, value: str) -> bool:
    return PATHS.search(name) is not None and "://" not in value


def strip(environment: MutableMapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """Remove secrets but those to `keep` from an environment and return them."""
    secrets = [name for name, value in environment.items() if is_secret(name, value) and name not in keep]
    return {name: environment.pop(name) for name in secrets}


class Hidden:
    """Secrets of this process's environment, kept from the processes that it starts until they are put back."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def hide(self, joining: bool = False) -> None:
        """Take secrets out but those that the user passes on; what joins a cluster keeps the token that opens it."""
        self._kept |= strip(os.environ, secret_variables.passed() | ({RAYS_TOKEN} if joining else set()))
        secret_variables.note_withheld(self._kept)

    def put_back(self) -> None:
        """Restore what was hidden, unless something else stands there by now; safe to call twice."""
        kept, self._kept = self._kept, {}
        os.environ.pop(secret_variables.WITHHELD, None)
        for name, value in kept.items():
            os.environ.setdefault(name, value)


def strip_worker() -> None:
    """Remove secrets from a process of Ray's: a cluster that was joined has an environment of its own."""
    if Path(sys.argv[0]).name == "default_worker.py":
        secret_variables.note_withheld(strip(os.environ, secret_variables.passed()))
