"""Where a sweep came from: code version, packages, hardware; nothing of the environment's tokens and keys."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweep.environment.devices import Device
from sweep.environment.secrets import without_secrets
from trainables.hardware.machine import processor
from trainables.records.manifest import SweepOrigin

PACKAGES = (
    *("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors", "tokenizers", "datasets", "ray"),
    *("optuna", "rouge_score", "sacrebleu", "pydantic", "numpy", "pandas", "scipy", "tensorboard"),
)


def provenance(device: Device) -> SweepOrigin:
    """Return what made a result, as far as it is not the configuration."""
    return SweepOrigin(
        commit=code_commit(),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages=versions(),
        device=device.kind,
        gpus=tuple(gpu.name for gpu in device.gpus),
        processor=processor(),
        cores=device.cores,
        memory_bytes=installed_memory_bytes(),
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def versions() -> dict[str, str | None]:
    """Return the installed version of every package that matters, None for an absent one."""
    return {name: version(name) for name in PACKAGES}


def version(name: str) -> str | None:
    """Return a package's installed version."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_commit() -> str | None:
    """Return the commit of the code, with `+changes` where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()


def installed_memory_bytes() -> int:
    """Return the machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total)


def command_line(verb: str, arguments: Sequence[str]) -> str:
    """Return the command that continues this sweep, without secrets and for any machine (`typed` for this one)."""
    return without_secrets(shlex.join(("python", "-m", f"sweep.{verb}", *arguments)))


def typed(command: str) -> str:
    """Return a command of `command_line` with the interpreter as it can be typed here."""
    name, space, rest = command.partition(" ")
    return f"{shlex.quote(_this_python())}{space}{rest}" if name == "python" else command


def _this_python() -> str:
    running, found = Path(sys.executable), shutil.which("python")
    # Several environments may share the file that their interpreter links to, but not its folder.
    if found and Path(found).absolute().parent == running.parent and os.path.samefile(found, running):
        return "python"
    if not running.is_relative_to(Path.cwd()):
        return str(running)
    return f"./{running.name}" if running.parent == Path.cwd() else str(running.relative_to(Path.cwd()))


def interpreter() -> str:
    """Return which Python runs."""
    return f"{sys.executable} ({platform.python_version()})"
