"""What Ray's processes inherit of the environment: all but secrets, which they need for nothing (no ray, no torch).

A list of what is denied, by name and by the look of the value, since what is needed (CUDA, MKL, proxies, caches, module
paths, a cluster's own variables) has no end. Whatever is downloaded, this process downloads before Ray starts.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path

SECRET_WORDS = {"PASS", "PASSPHRASE", "PAT", "AUTH", "COOKIE", "COOKIES", "DSN", "WEBHOOK", "CREDS"}
SECRET_ENDINGS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "KEY")  # of a word, in the singular
SECRET_NAMES = re.compile(r"CONNECTION_?STRING|ACCESS_?KEY|API_?KEY", re.IGNORECASE)
OURS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")  # the way to a token, which is a file of this user's alone
SECRET_VALUES = re.compile(
    r"\bhf_[A-Za-z0-9]{8,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}|\bsk-[\w-]{20,}"
    r"|\bxox[abeprs]-[\w-]{10,}|\bA[KS]IA[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\w://[^\s/:@]*:[^\s/@]+@"  # an address with a password
)


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable of the environment may hold a secret."""
    if name in OURS:
        return False
    words = [word for word in re.split(r"[^A-Z0-9]+", name.upper()) if word]
    return (
        any(word in SECRET_WORDS or word.removesuffix("S").endswith(SECRET_ENDINGS) for word in words)
        or (len(words) > 1 and words[-1] == "PWD")  # alone it is the folder
        or SECRET_NAMES.search(name) is not None
        or SECRET_VALUES.search(value) is not None
    )


def strip(environment: MutableMapping[str, str]) -> dict[str, str]:
    """Remove secrets from an environment and return them."""
    return {name: environment.pop(name) for name, value in list(environment.items()) if is_secret(name, value)}


class Hidden:
    """Secrets of this process's environment, kept from the processes that it starts until they are put back."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def hide(self) -> None:
        self._kept |= strip(os.environ)

    def put_back(self) -> None:
        """Restore what was hidden, unless something else stands there by now; safe to call twice."""
        kept, self._kept = self._kept, {}
        for name, value in kept.items():
            os.environ.setdefault(name, value)


def strip_worker() -> None:
    """Remove secrets from a process of Ray's: a cluster that was joined has an environment of its own."""
    if Path(sys.argv[0]).name == "default_worker.py":
        strip(os.environ)
