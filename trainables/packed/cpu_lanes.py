"""Work on several adapters at the same time on a CPU: each lane is a thread with its share of the cores.

A team of cores that shares each product waits for its slowest at the end of every operation, and one core works alone
on what is small. In lanes nobody waits until there is nothing left to do. The lanes' modules are copies over the same
weights, since a module knows whose the rows in it are. GPT-2's shape on two cores: 1.1 to 1.2 times the steps of a team
(docs/decisions/0052), with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trainables.hardware.cpu_threads import compute_on
from trainables.modeling.multi_lora import PackedBase

MOST = 8


def most_lanes(threads: int) -> int:
    """Return how many lanes these cores are worth."""
    return min(MOST, threads)


def lanes_for(base: PackedBase, count: int) -> int:
    """Return in how many lanes, `count` at most, work over a base can go; their modules are then ready.

    One where a model cannot be copied, or memory does not suffice for the copies.
    """
    if count <= 1 or not base.loaded.capabilities.cpu_lanes:
        return 1
    try:
        while len(base.copies) < count - 1:
            base.copies.append(base.copy_modules())
    except Exception as error:  # of memory: a copy was made when the base was loaded
        base.loaded.refuse("cpu_lanes", f"{type(error).__name__}: {error}".splitlines()[0])
        base.copies.clear()
        return 1
    return count


def in_lanes(base: PackedBase, count: int, threads: int, work: Callable[[PackedBase], None]) -> None:
    """Do `work` in so many lanes, of `lanes_for`, which share `threads` cores; raises what one does when all are done.

    A single one is the calling thread, as it is.
    """
    if count == 1:
        work(base)
        return

    def lane(one: PackedBase) -> None:
        compute_on(max(1, threads // count))
        work(one)

    with ThreadPoolExecutor(count, thread_name_prefix="lane") as pool:
        lanes = [pool.submit(lane, one) for one in (base, *base.copies[: count - 1])]
        for one in lanes:
            one.result()
