"""What may hold a secret, told by the name of a variable and the look of a value (no ray, no torch).

A list of what is denied, since what is needed (CUDA, MKL, proxies, caches, module paths, a cluster's own variables) has
no end.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit, urlunsplit

from trainables import secret_variables

SECRET_WORDS = {"PASS", "PASSPHRASE", "PAT", "AUTH", "COOKIE", "COOKIES", "DSN", "WEBHOOK", "CREDS"}
SECRET_ENDINGS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "KEY")  # of a word, in the singular
SECRET_NAMES = re.compile(r"CONNECTION_?STRING|ACCESS_?KEY|API_?KEY", re.IGNORECASE)
# The way to a token, which is a file of this user's alone, and names without values.
OURS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", secret_variables.PASS_ENV, secret_variables.WITHHELD)
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


def without_secrets(text: str) -> str:
    """Return `text` with the values of the environment's secrets, and passwords inside addresses, hidden."""
    for name, value in os.environ.items():
        if is_secret(name, value) and len(value) >= 6:
            text = text.replace(value, secret_variables.HIDDEN)
    text = re.sub(HUB_TOKEN, secret_variables.HIDDEN, text)
    return re.sub(r"\w+://[^\s/@]+@[^\s]+", lambda match: _without_login(match.group()), text)


def _without_login(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]))
