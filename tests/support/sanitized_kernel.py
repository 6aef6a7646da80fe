"""A plugin of pytest, and a script: compile `cpu_kernel.c` so that AddressSanitizer watches every access to memory."""

from __future__ import annotations

import torch

from trainables.kv_cache import cpu_kernel

cpu_kernel.FLAGS = (*cpu_kernel.FLAGS, "-fsanitize=address", "-g")  # what it calls is in the library that is preloaded


def write_behind_the_end() -> None:
    """Do what the guards prevent: append a token whose values are narrower than is said."""
    library = cpu_kernel.library()
    assert library is not None
    states = torch.zeros(1, 4, 32)
    table = cpu_kernel.RowPointers(library, [(states, states)], [0])
    table.append(torch.zeros(1, 1, 32), torch.zeros(1, 1, 32))
    print("as it should be")
    table.width = 16 * 1024
    narrow = torch.zeros(1, 1, 32)
    library.append(
        cpu_kernel._pointer(narrow), cpu_kernel._pointer(narrow), table.keys, table.values, table.tokens, table.rooms,
        table.rows, cpu_kernel._long(1), cpu_kernel._long(64 * 1024),
    )  # fmt: skip
    print("nobody saw it")


if __name__ == "__main__":
    write_behind_the_end()
