"""The compiled part of decoding on a CPU, where a C compiler is at hand: `cpu_kernel.c`, built once a machine.

torch reads keys and values in bf16 at 2 to 4 GB/s while it decodes and in fp32 at 13; this reads them at 20 and 30
(docs/decisions/0041). Without a compiler, or where the result is not torch's, torch's own operators write the texts.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from trainables.hardware import machine

SOURCE = Path(__file__).with_name("cpu_kernel.c")
# Not -ffast-math: linked with it, a library would have the whole process flush its smallest numbers to zero.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fopenmp", "-fPIC")
COMPILE_S = 60
KINDS = {torch.float32: "attend_fp32", torch.bfloat16: "attend_bf16"}
WIDTHS = range(16, 257, 16)  # of a head


class RowPointers:
    """Where each row's keys and values lie, for the compiled functions, which are handed nothing that was not checked.

    All methods raise ValueError for states that the functions were not made for, before any memory is touched.
    """

    def __init__(self, library: ctypes.CDLL, rows: Sequence[tuple[Tensor, Tensor]], length: Sequence[int]) -> None:
        """`rows`: the keys and the values of each, (G, room, D); so many of their tokens count."""
        _require(len(rows) == len(length) > 0, "there are rows, and each has a length", len(rows), len(length))
        first = rows[0][0]
        for (keys, values), tokens in zip(rows, length, strict=True):
            _require(takes(keys, values), "keys and values are of one kind that is known", keys, values)
            _require(_alike(keys, first), "rows have one number of heads, width and dtype", keys, first)
            _require(keys.is_contiguous() and values.is_contiguous(), "states are contiguous", keys, values)
            _require(0 <= tokens <= keys.shape[1], "a row's tokens have room", tokens, keys.shape[1])
        self.library, self.dtype = library, first.dtype
        self.groups, self.width = first.shape[0], first.shape[2]
        self.states = list(rows)  # what is pointed to lives as long as its pointers
        pointers, numbers = ctypes.c_void_p * len(rows), ctypes.c_int64 * len(rows)
        self.keys, self.values = (pointers(*(pair[half].data_ptr() for pair in rows)) for half in (0, 1))
        self.tokens = numbers(*length)
        self.rooms = numbers(*(keys.shape[1] for keys, _ in rows))
        self.rows = ctypes.c_long(len(rows))

    def append(self, keys_RGD: Tensor, values_RGD: Tensor) -> None:
        """Write one token of every row behind its others."""
        wanted = (self.rows.value, self.groups, self.width)
        for states in (keys_RGD, values_RGD):
            is_fit = _is_plain(states) and states.shape == wanted
            _require(is_fit, "a token's states are (rows, heads, width)", states, wanted)
        keys, values = (states.to(self.dtype).contiguous() for states in (keys_RGD, values_RGD))
        is_full = self.library.append(
            _pointer(keys), _pointer(values), self.keys, self.values, self.tokens, self.rooms, self.rows,
            _long(self.groups), _long(self.width * self.dtype.itemsize),
        )  # fmt: skip
        _require(not is_full, "a cache has room for the tokens that are to be written")

    def attend(self, query_RHD: Tensor, scale: float) -> Tensor:
        """Return (R, H, D) in fp32: each query over its row's tokens."""
        is_fit = _is_plain(query_RHD) and query_RHD.dim() == 3 and query_RHD.shape[1] % self.groups == 0
        wanted = (self.rows.value, self.width)
        _require(is_fit and query_RHD.shape[::2] == wanted, "queries are (rows, any heads, width)", query_RHD, wanted)
        query = query_RHD.float().contiguous()
        found = torch.empty_like(query)
        has_failed = getattr(self.library, KINDS[self.dtype])(
            _pointer(query), self.keys, self.values, self.tokens, self.rooms, self.rows, _long(self.groups),
            _long(query.shape[1] // self.groups), _long(self.width), ctypes.c_float(scale), _pointer(found),
        )  # fmt: skip
        if has_failed:
            raise MemoryError(f"no memory for the attention over {max(self.tokens)} tokens")
        return found


def takes(keys: Tensor, values: Tensor) -> bool:
    """Tell whether the compiled functions are made for such states, (..., room, D).

    Keys and values of different widths (DeepSeek's latent attention) are not: the functions know one width.
    """
    return (
        _is_plain(keys)
        and _is_plain(values)
        and keys.dtype in KINDS
        and keys.dtype == values.dtype
        and keys.dim() >= 3
        and keys.shape == values.shape
        and keys.shape[-1] in WIDTHS
    )


def _is_plain(states: Tensor) -> bool:
    """Tell whether a tensor's numbers lie in this process's memory, one after another by its strides."""
    return states.device.type == "cpu" and states.layout == torch.strided and states.is_floating_point()


def _alike(states: Tensor, others: Tensor) -> bool:
    is_same = states.dtype == others.dtype and states.shape[::2] == others.shape[::2]
    return states.dim() == 3 and is_same and states.shape[0] > 0


def _require(is_so: bool, rule: str, *found: object) -> None:
    if not is_so:
        told = (
            f"{one.dtype} {tuple(one.shape)} by {one.stride()} on {one.device}" if isinstance(one, Tensor) else str(one)
            for one in found
        )
        raise ValueError(f"compiled attention: {rule}" + (f", got {'; '.join(told)}" if found else ""))


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions, built where this machine does not have them yet; None where they cannot be had."""
    try:
        found = _loaded(_target())
        return found if _agrees(found) else None
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None


def _loaded(target: Path) -> ctypes.CDLL:
    """Load the library, building it where it is absent or damaged; raises OSError or SubprocessError."""
    # What OpenMP needs is torch's own runtime, which is there already: another would have threads of its own.
    with contextlib.suppress(OSError):
        return ctypes.CDLL(str(target))
    _build(target)
    return ctypes.CDLL(str(target))


def _target() -> Path:
    """Return where the library for this source and processor lies."""
    built_for = (
        SOURCE.read_text(encoding="utf-8"),
        FLAGS,
        machine.c_compiler(),
        platform.machine(),
        machine.instructions(),
    )
    name = hashlib.sha256(repr(built_for).encode()).hexdigest()[:16]
    return machine.cache_folder() / f"rows-{name}.so"


def _build(target: Path) -> None:
    path = machine.c_compiler()
    if path is None:
        raise FileNotFoundError("no C compiler")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        compiled, linked = Path(folder, "rows.o"), Path(folder, "rows.so")
        _call(path, *FLAGS, "-c", str(SOURCE), "-o", str(compiled))
        _call(path, "-shared", str(compiled), "-lm", "-o", str(linked))
        os.replace(linked, target)


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_S)


def _agrees(found: ctypes.CDLL) -> bool:
    """Tell whether the functions give what torch gives, for rows of unequal length with two queries to a key."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    for dtype in KINDS:
        lengths = (3, 40)
        rows: list[Any] = [(drawn(2, 50, 32).to(dtype), drawn(2, 50, 32).to(dtype)) for _ in lengths]
        keys, values, query = drawn(2, 2, 32).to(dtype), drawn(2, 2, 32).to(dtype), drawn(2, 4, 32)
        table = RowPointers(found, rows, lengths)
        table.append(keys, values)
        answers = table.attend(query, 0.5)
        for row, length in enumerate(lengths):
            whole_keys, whole_values = (
                torch.cat([old[:, :length], new[row][:, None]], 1).float().repeat_interleave(2, 0)
                for old, new in zip(rows[row], (keys, values), strict=True)
            )
            wanted = scaled_dot_product_attention(query[row][:, None], whole_keys, whole_values, scale=0.5)[:, 0]
            if not torch.allclose(answers[row], wanted, rtol=1e-5, atol=1e-5):
                return False
    return True


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _long(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)
