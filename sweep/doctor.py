"""`sweep doctor`: what a sweep would find on this machine: versions, devices, cache, disk (no torch, no ray)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from sweep.environment import provenance
from sweep.environment.devices import (
    GAINS_BY_BF16,
    Device,
    find_gpus,
    resolve_device,
    resolve_precision,
    torch_has_cuda,
    usable_gpus,
)
from sweep.environment.secrets import without_secrets
from sweep.plan import size
from trainables.bases import refusals
from trainables.data import hub, sources
from trainables.errors import UserError
from trainables.hardware import machine
from trainables.packed import pack_size

LEAST_DISK_BYTES = 2 * 2**30
SHOWN_WIDTHS = 8  # the latest
LEAST_SHARED_BYTES = 512 * 2**20


def doctor(as_json: JsonOption = False) -> int:
    """Show versions, devices, bitsandbytes, the model cache and the disk, and what is wrong with them."""
    found = examine()
    if as_json:
        command.print_json(found)
    else:
        _print(found)
    return command.DONE if not found["problems"] else command.SOME_FAILED


def examine() -> dict[str, Any]:
    """Return what was found as JSON values; `problems` are sentences."""
    versions = provenance.versions()
    problems = [f"{name} is not installed" for name, version in versions.items() if version is None]
    device = resolve_device("auto", False, "")
    gpus, reason = usable_gpus()
    if find_gpus() and not gpus:
        problems.append(f"there is a GPU but it cannot be used: {reason}")
    disk, shared = shutil.disk_usage("."), _shared_memory()
    if disk.free < LEAST_DISK_BYTES:
        problems.append(f"this folder's disk has {size(disk.free)} free")
    if shared is not None and shared < LEAST_SHARED_BYTES:
        problems.append(f"/dev/shm has {size(shared)} free, which slows Ray down")
    return {
        "python": provenance.interpreter(),
        "commit": provenance.code_commit(),
        "packages": versions,
        "device": device.sentence,
        "precision": _precision(device),
        "gpus": [{"name": gpu.name, "capability": gpu.capability, "bytes": gpu.memory_bytes} for gpu in find_gpus()],
        "torch_has_cuda": torch_has_cuda(),
        "bitsandbytes": _bitsandbytes(versions["bitsandbytes"]),
        "processor": provenance.processor(),
        "c_compiler": machine.c_compiler(),
        "memory_bytes": provenance.installed_memory_bytes(),
        "hub": {"endpoint": without_secrets(hub.endpoint()), "reachable": hub.hub_reachable()},
        "cache": {"folder": str(hub.hub_cache()), "models": _cached("model"), "data": _cached("dataset")},
        "bundled": _bundled(problems),
        "widths": _widths(),
        "refused_ways": [asdict(one) for one in refusals.read_all()],
        "disk_free_bytes": disk.free,
        "temporary_folder": tempfile.gettempdir(),
        "problems": problems,
    }


def _precision(device: Device) -> str:
    if device.kind != "cpu" or not machine.multiplies_bf16():
        return resolve_precision(device, ())
    return f"bf16 from {GAINS_BY_BF16 // 10**6} million parameters, fp32 below"


def _bitsandbytes(version: str | None) -> str:
    """Say whether 4-bit models can be loaded; its compiled libraries tell without importing it, and with it torch."""
    spec = importlib.util.find_spec("bitsandbytes")
    if version is None or spec is None or not spec.submodule_search_locations:
        return "absent: quantization=nf4 and the paged optimizers will fail"
    names = [path.name for path in Path(spec.submodule_search_locations[0]).glob("libbitsandbytes_*")]
    kinds = sorted({"CUDA" if "cuda" in name else "CPU" if "cpu" in name else "other" for name in names})
    return f"{version}, compiled for {', '.join(kinds)}" if kinds else f"{version}, without compiled libraries"


def _widths() -> dict[str, Any]:
    """Return the file of what was measured on this machine, and each measurement with the widths that are fastest."""
    found = []
    for place, measured in pack_size.read_all().values():
        best = {
            "together": pack_size.fastest(measured.train) if measured.train else None,
            "best_rows": pack_size.fastest(measured.decode) if measured.decode else None,
        }
        more = {"replays": measured.replays, "measured": measured.date, "took_s": measured.took_s}
        found.append({**vars(place), **best, **more})
    return {"file": str(pack_size.cache_path()), "measured": found}


def _width_line(one: dict[str, Any]) -> str:
    quantized = f" {one['quantization']}" if one["quantization"] != "none" else ""
    threads = f", {one['threads']} threads" if one["threads"] else ""
    replayed = ", replayed as graphs" if one["replays"] else ""
    return (
        f"{one['device']}{threads}: model {one['model']} {one['precision']}{quantized}, micro-batch {one['rows']} x "
        f"{one['tokens']} tokens: trains {one['together'] or '?'} at a time{replayed}, "
        f"decodes {one['best_rows'] or '?'} rows ({one['measured']}, torch {one['torch']})"
    )


def _cached(kind: str) -> list[str]:
    folder = Path(hub.hub_cache())
    return sorted(path.name.split("--", 1)[1].replace("--", "/") for path in folder.glob(f"{kind}s--*"))


def _bundled(problems: list[str]) -> str | None:
    try:
        return sources.resolve_model(sources.POCKET_MODEL).label
    except UserError as error:
        problems.append(f"the bundled model is not whole: {error}")
        return None


def _shared_memory() -> int | None:
    return shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else None


def _print(found: dict[str, Any]) -> None:
    console = command.results()

    def line(title: str, text: Any) -> None:
        console.print(f"{title:<14}{text}")

    line("python", found["python"])
    line("code", found["commit"] or "an installed package")
    line("packages", ", ".join(f"{name} {version or 'ABSENT'}" for name, version in found["packages"].items()))
    line("device", f"{found['device'].removeprefix('device: ')}; precision {found['precision']}")
    line("torch", "with CUDA" if found["torch_has_cuda"] else "without CUDA")
    line("bitsandbytes", found["bitsandbytes"])
    line("compiler", found["c_compiler"] or "no C compiler: without one texts take longer on a CPU, and are the same")
    line("memory", size(found["memory_bytes"]))
    line("hub", f"{found['hub']['endpoint']}, {'reachable' if found['hub']['reachable'] else 'not reachable'}")
    cached = [*found["cache"]["models"], *found["cache"]["data"]]
    line("cache", f"{found['cache']['folder']}: {', '.join(cached) or 'empty'}")
    line("bundled", found["bundled"] or "damaged")
    measured = found["widths"]["measured"]
    line("pack width", f"{len(measured)} measured, kept in {found['widths']['file']}")
    for one in measured[-SHOWN_WIDTHS:]:
        line("", _width_line(one))
    for one in found["refused_ways"]:
        ways = "; ".join(f"{way.replace('_', ' ')} ({reason})" for way, reason in one["refused"].items())
        line("not used", f"{one['model']} {one['precision']} on {one['device']}: {ways}")
    line("disk", f"{size(found['disk_free_bytes'])} free here")
    for problem in found["problems"]:
        console.print(f"problem: {problem}", style="red")


app = command.app(doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep doctor", arguments)


if __name__ == "__main__":
    sys.exit(main())
