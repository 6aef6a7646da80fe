"""The model hub: one probe of whether it answers, its cache on disk, a download of safe files, and staying offline.

Left alone, the libraries take 23 s per call on a hub that refuses connections and minutes on one that never answers.
So a run probes once, resolves what it needs, and then tells them to stay offline (no torch).
"""

from __future__ import annotations

import http.client
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from trainables.errors import UserError

RepoType = Literal["model", "dataset"]

PROBE_TIMEOUT_S = 3.0
REQUEST_TIMEOUT_S = 5.0
TRUE = ("1", "on", "yes", "true")

_answers: dict[str, bool] = {}


class HubUnavailable(RuntimeError):
    """The hub answered the probe but not the request that followed."""


def endpoint() -> str:
    """Return the address of the hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Return whether the environment asks the libraries to stay offline."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in TRUE for name in names)


def hub_reachable(timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Return whether the hub answers one HEAD request in time: no retry, no redirect, asked once per process."""
    if is_offline():
        return False
    address = endpoint()
    if address not in _answers:
        _answers[address] = _probe(f"{address}/robots.txt", timeout_s)
    return _answers[address]


def go_offline() -> None:
    """Tell the hub's libraries to stay offline, in this process and its children; call it after the last resolve."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"
    # A library that is loaded already has read its environment.
    for module, names in (
        ("huggingface_hub.constants", ["HF_HUB_OFFLINE"]),
        ("datasets.config", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"]),
    ):
        if module in sys.modules:
            for name in names:
                setattr(sys.modules[module], name, True)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _probe(url: str, timeout_s: float) -> bool:
    answered: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s):
                answered.append(True)
        except urllib.error.HTTPError as error:  # a redirect or "not found" is an answer; a broken proxy is not
            answered.append(error.code < 500 and error.code != 407)
        except (OSError, ValueError, http.client.HTTPException):
            answered.append(False)

    # In a thread, since no socket timeout bounds the look-up of the name or an answer that trickles.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answered and answered[0])


# --- the cache -------------------------------------------------------------------------------------------------------


def hub_cache() -> Path:
    """Return the folder of the hub's cache, by the same environment variables as the library."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(given).expanduser() if given else _home() / "hub"


def datasets_cache() -> Path:
    """Return the folder of the `datasets` library's cache."""
    given = os.environ.get("HF_DATASETS_CACHE")
    return Path(given).expanduser() if given else _home() / "datasets"


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()


def snapshots(repo_id: str, repo_type: RepoType) -> list[Path]:
    """Return the cached snapshots of a repository: that of its main branch first, then the newest."""
    folder = hub_cache() / f"{repo_type}s--{repo_id.replace('/', '--')}"
    found = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    main = folder / "refs" / "main"
    current = main.read_text().strip() if main.is_file() else ""
    return sorted(found, key=lambda path: (path.name != current, -path.stat().st_mtime, path.name))


def in_datasets_cache(repo_id: str) -> bool:
    """Return whether the `datasets` library has prepared this data set before."""
    return bool(prepared_configurations(repo_id))


def prepared_configurations(repo_id: str) -> list[str]:
    """Return the configurations of a data set that the `datasets` library has prepared before."""
    *owner, name = repo_id.split("/")
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
    folder = datasets_cache() / "___".join([*owner, snake])
    return sorted({path.parents[2].name for path in folder.glob("*/*/*/dataset_info.json")})


# --- the download ----------------------------------------------------------------------------------------------------


def download(repo_id: str, repo_type: RepoType, choose: Callable[[Iterable[str]], list[str]]) -> Path:
    """Download the chosen files of a repository into the cache and return the snapshot.

    Raises UserError where the repository does not exist or is not open, HubUnavailable where the hub went silent.
    """
    import huggingface_hub
    from huggingface_hub import errors

    common: dict[str, Any] = {"repo_id": repo_id, "repo_type": repo_type}
    try:
        api = huggingface_hub.HfApi(endpoint=endpoint())
        info = api.repo_info(**common, timeout=REQUEST_TIMEOUT_S)
        names = choose(sibling.rfilename for sibling in info.siblings or [])
        folder = huggingface_hub.snapshot_download(
            **common, revision=info.sha, allow_patterns=names, cache_dir=hub_cache(), endpoint=endpoint()
        )
    except UserError:
        raise
    except errors.GatedRepoError:
        raise UserError(
            f"{repo_type} {repo_id!r} is gated on the hub: ask for access, then log in with a token"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(f"{repo_type} {repo_id!r} is not on the hub {endpoint()} (or is private)") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404, 410):
            raise UserError(f"{repo_type} {repo_id!r} is not open on the hub {endpoint()} (HTTP {status})") from None
        raise HubUnavailable(f"HTTP {status}") from None
    except Exception as error:  # whatever the transport raises: the caller says what was tried
        _answers[endpoint()] = False  # so that the next name does not wait for it again
        raise HubUnavailable(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}") from None
    return Path(folder)
