"""What every test shares: no network, waiting threads that sleep, and libraries left as they were."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

# Threads that spin while they wait starve each other where several processes share few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# What tests measure of tiny models is no use to anybody's sweeps.
if "PACKSWEEP_CACHE" not in os.environ:
    os.environ["PACKSWEEP_CACHE"] = tempfile.mkdtemp(prefix="packsweep-cache-")
    atexit.register(shutil.rmtree, os.environ["PACKSWEEP_CACHE"], ignore_errors=True)

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
READ_AT_IMPORT = {
    "huggingface_hub.constants": ("HF_HUB_OFFLINE",),
    "datasets.config": ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"),
}


@pytest.fixture(autouse=True)
def offline_as_before() -> Iterator[None]:
    """A command that was run in this process tells the hub's libraries to stay offline: take that back."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for module, names in READ_AT_IMPORT.items():
        if module in sys.modules:
            for name in names:
                setattr(sys.modules[module], name, before["HF_HUB_OFFLINE"] == "1")
