"""What the device itself can do, measured in the same run: matrix products at a dtype, and memory bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from trainables.modeling.base_model import DTYPES
from trainables.modeling.onednn_linear import BlockedLinear, is_possible

SQUARES = (1024, 2048, 4096)
LARGE_BYTES = 256 * 2**20  # of each array of a stream: far beyond any cache
BEST_OF = 3
LEAST_S = 0.2


def seconds_of(work: Callable[[], object], device: str, best_of: int = BEST_OF, least_s: float = LEAST_S) -> float:
    """Return the seconds of one call: the best of several measurements of at least `least_s` each."""
    work()
    repeats, best = 1, float("inf")
    for _ in range(best_of):
        while True:
            _wait(device)
            began = time.perf_counter()
            for _ in range(repeats):
                work()
            _wait(device)
            seconds = time.perf_counter() - began
            if seconds >= least_s:
                break
            repeats = max(repeats + 1, min(repeats * 10, int(repeats * 1.2 * least_s / max(seconds, 1e-6))))
        best = min(best, seconds / repeats)
    return best


def gemm_rates(precision: str, device: str, shapes: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """Return FLOP/s of matrix products: squares, and the model's own shapes as (tokens, inputs, outputs).

    The own shapes also with their weight as the packed engine keeps it, where the processor has that.
    """
    found = {}
    if is_possible(device, DTYPES[precision]):
        for tokens, inputs, outputs in shapes:
            layer = nn.Linear(inputs, outputs, bias=False, dtype=DTYPES[precision]).requires_grad_(False)
            left = torch.randn(tokens, inputs).to(DTYPES[precision])
            seconds = seconds_of(_layer(BlockedLinear(layer), left), device)
            found[f"{tokens} x {inputs} x {outputs} blocked"] = 2 * tokens * inputs * outputs / seconds
    for tokens, inputs, outputs in (*((side, side, side) for side in SQUARES), *shapes):
        left = torch.randn(tokens, inputs, device=device).to(DTYPES[precision])
        right = torch.randn(inputs, outputs, device=device).to(DTYPES[precision])
        target = torch.empty(tokens, outputs, device=device, dtype=DTYPES[precision])
        product = _product(left, right, target)
        found[f"{tokens} x {inputs} x {outputs}"] = 2 * tokens * inputs * outputs / seconds_of(product, device)
    return found


def _product(left: torch.Tensor, right: torch.Tensor, target: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.mm(left, right, out=target)


def _layer(layer: nn.Module, left: torch.Tensor) -> Callable[[], object]:
    return lambda: layer(left)


def bandwidth(device: str, size_bytes: int = LARGE_BYTES) -> dict[str, float]:
    """Return bytes/s of a copy (2 arrays) and of a triad a = b + 3 c (3 arrays), counted as STREAM counts them."""
    count = size_bytes // 4
    first, second, third = (torch.ones(count, device=device) for _ in range(3))
    copy_s = seconds_of(lambda: first.copy_(second), device)
    triad_s = seconds_of(lambda: torch.add(second, third, alpha=3.0, out=first), device)
    return {"copy": 2 * 4 * count / copy_s, "triad": 3 * 4 * count / triad_s}


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
