"""What Ray's processes inherit of the environment: all but secrets, which they need for nothing (no ray, no torch).

Whatever is downloaded, this process downloads before Ray starts. PACKSWEEP_PASS_ENV=NAME,NAME passes variables on that
a user's own code, a metric's script, has to have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, MutableMapping
from pathlib import Path

from sweep.environment.secrets import is_secret
from trainables import secret_variables

RAYS_TOKEN = "RAY_AUTH_TOKEN"  # with which a cluster is joined


def strip(environment: MutableMapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """Remove secrets but those to `keep` from an environment and return them."""
    secrets = [name for name, value in environment.items() if is_secret(name, value) and name not in keep]
    return {name: environment.pop(name) for name in secrets}


class HiddenSecrets:
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
