"""Where the time of a device goes: torch's profiler over all threads, its operators sorted into a few kinds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

GEMM = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "mkldnn", "aten::_grouped_mm")
KINDS = (  # a name, and what is part of an operator's own name; the first that matches
    ("attention", ("attention", "sdp", "flash")),
    ("loss", ("softmax", "nll_loss", "cross_entropy")),
    ("norms", ("norm",)),
    ("activation", ("gelu", "silu", "relu", "tanh", "sigmoid")),
    ("optimizer", ("adam", "foreach")),
    ("copies, casts", ("copy", "::to", "clone", "cat", "contiguous", "fill_", "zero_", "slice_backward", "pad")),
    ("indexing", ("index", "embedding", "gather", "scatter", "select", "argmax")),
    ("elementwise", ("add", "mul", "div", "sub", "sum", "mean", "pow", "where", "masked", "random", "uniform")),
)


@dataclass
class Breakdown:
    """Seconds of each kind of work; `wall_s` minus their sum was spent outside of any operator."""

    wall_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    largest: list[tuple[str, float]] = field(default_factory=list)

    def shares(self) -> dict[str, float]:
        """Return the share of each kind, the largest first, and what no operator took."""
        total = sum(self.seconds.values())
        wall = max(self.wall_s, total) or 1.0
        found = {kind: value / wall for kind, value in sorted(self.seconds.items(), key=lambda one: -one[1])}
        return {**found, "outside of operators (Python, waiting)": (wall - total) / wall}


@contextmanager
def profiled(device: str, ranks: set[int], vocabulary: int) -> Iterator[Breakdown]:
    """Profile the block in every thread; a side of rank tells an adapter's products, the vocabulary the head's."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device != "cpu" else [])
    found = Breakdown()
    options = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    with profile(activities=activities, record_shapes=True, acc_events=True, experimental_config=options) as recorded:
        began = time.perf_counter()
        yield found
        found.wall_s = time.perf_counter() - began
    for event in recorded.key_averages(group_by_input_shape=True):
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue  # a kernel, whose time its operator has too
        seconds = _own_us(event, device) / 1e6
        kind = _kind(event.key, event.input_shapes, ranks, vocabulary)
        if seconds > 0 and kind is not None:
            found.seconds[kind] = found.seconds.get(kind, 0.0) + seconds
            found.largest.append((f"{event.key} {event.input_shapes}", seconds))
    found.largest = sorted(found.largest, key=lambda one: -one[1])[:20]


def _own_us(event: Any, device: str) -> float:
    return float(event.self_cpu_time_total if device == "cpu" else event.self_device_time_total)


def _kind(name: str, shapes: Any, ranks: set[int], vocabulary: int) -> str | None:
    """Return the kind of an operator; None for what only frames others."""
    if name.startswith(("ProfilerStep", "autograd::engine", "## ")):
        return None
    plain = name.lower()
    if name.startswith(GEMM) or "gemm" in plain:
        sides = {side for shape in shapes or [] for side in (shape if isinstance(shape, list) else [])}
        if vocabulary in sides:
            return "products: output head"
        return "products: adapters" if ranks & sides else "products: base"
    for kind, parts in KINDS:
        if any(part in plain for part in parts):
            return kind
    return "other operators"
