"""Which thread computes on all cores: the device's own, and no other of its process.

OpenMP keeps waiting threads for every thread that has ever computed in parallel. Where they outnumber the cores, none
of them spins between two regions any more, each is put to sleep and woken: a step of GPT-2's shape on two cores then
takes 1.50 s instead of 1.34 s (docs/decisions/0034).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def compute_on(threads: int) -> None:
    """Have the calling thread compute on so many cores, whatever other threads of the process do."""
    torch.get_num_threads()  # at its first use torch gives a thread the number that was set last anywhere
    torch.set_num_threads(threads)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Have the calling thread compute by itself."""
    before = torch.get_num_threads()
    compute_on(1)
    try:
        yield
    finally:
        compute_on(before)
