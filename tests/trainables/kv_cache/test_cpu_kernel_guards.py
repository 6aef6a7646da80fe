"""What the compiled part of decoding was not made for is refused before it touches memory."""

from __future__ import annotations

import gc

import pytest
import torch

from trainables.hardware import machine
from trainables.kv_cache import cpu_kernel

pytestmark = pytest.mark.skipif(machine.c_compiler() is None, reason="needs a C compiler")
STATES = torch.zeros(2, 8, 32)
BAD_STATES: dict[str, tuple[list[tuple[torch.Tensor, torch.Tensor]], list[int]]] = {
    "no rows": ([], []),
    "a length too few": ([(STATES, STATES)] * 2, [3]),
    "values narrower than keys": ([(STATES, STATES[..., :16].contiguous())], [3]),
    "values wider than keys": ([(STATES, torch.zeros(2, 8, 48))], [3]),
    "less room for values": ([(STATES, torch.zeros(2, 7, 32))], [3]),
    "fewer heads of values": ([(STATES, torch.zeros(1, 8, 32))], [3]),
    "values of another dtype": ([(STATES, STATES.bfloat16())], [3]),
    "a dtype that is not known": ([(STATES.half(), STATES.half())], [3]),
    "a width that is not known": ([(torch.zeros(2, 8, 24), torch.zeros(2, 8, 24))], [3]),
    "a width above the largest": ([(torch.zeros(2, 8, 272), torch.zeros(2, 8, 272))], [3]),
    "another device": ([(STATES.to("meta"), STATES.to("meta"))], [3]),
    "a sparse layout": ([(STATES.to_sparse(), STATES.to_sparse())], [3]),
    "no heads": ([(STATES[:0], STATES[:0])], [3]),
    "a dimension too many": ([(STATES[None], STATES[None])], [3]),
    "keys that are a view": ([(torch.zeros(8, 2, 32).transpose(0, 1), STATES)], [3]),
    "values that are a view": ([(STATES, torch.zeros(2, 8, 64)[..., ::2])], [3]),
    "rows of different heads": ([(STATES, STATES), (torch.zeros(1, 8, 32),) * 2], [3, 3]),
    "rows of different widths": ([(STATES, STATES), (torch.zeros(2, 8, 16),) * 2], [3, 3]),
    "rows of different dtypes": ([(STATES, STATES), (STATES.bfloat16(),) * 2], [3, 3]),
    "a text longer than its room": ([(STATES, STATES)], [9]),
    "a length below zero": ([(STATES, STATES)], [-1]),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_states_that_the_compiled_functions_do_not_know_never_reach_them(name: str) -> None:
    library = cpu_kernel.library()
    assert library is not None
    with pytest.raises(ValueError, match="compiled attention"):
        cpu_kernel.RowPointers(library, *BAD_STATES[name])


TOKEN, QUERY = torch.zeros(2, 2, 32), torch.zeros(2, 4, 32)
BAD_TOKENS = {
    "a row too few": TOKEN[:1],
    "a head too few": TOKEN[:, :1],
    "too narrow": TOKEN[..., :16],
    "too wide": torch.zeros(2, 2, 48),
    "a dimension too many": TOKEN[None],
    "on another device": TOKEN.to("meta"),
    "of a sparse layout": TOKEN.to_sparse(),
    "of whole numbers": TOKEN.long(),
}
BAD_QUERIES = {
    "a row too many": torch.zeros(3, 4, 32),
    "heads that no key head divides": torch.zeros(2, 3, 32),
    "too narrow": QUERY[..., :16],
    "too wide": torch.zeros(2, 4, 48),
    "a dimension too few": QUERY[0],
    "on another device": QUERY.to("meta"),
    "of a sparse layout": QUERY.to_sparse(),
}


@pytest.fixture
def table() -> cpu_kernel.RowPointers:
    """Two rows of two heads with room for eight tokens, three and four of them there."""
    library = cpu_kernel.library()
    assert library is not None
    states = [(torch.ones(2, 8, 32), torch.ones(2, 8, 32)) for _ in range(2)]
    return cpu_kernel.RowPointers(library, states, [3, 4])


@pytest.mark.parametrize("which", ["keys", "values"])
@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_token_that_does_not_fit_is_not_written(table: cpu_kernel.RowPointers, name: str, which: str) -> None:
    bad = BAD_TOKENS[name]
    with pytest.raises(ValueError, match="a token's states"):
        table.append(*((bad, TOKEN) if which == "keys" else (TOKEN, bad)))
    assert list(table.tokens) == [3, 4]
    assert all((states == 1).all() for pair in table.states for states in pair)


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_queries_that_do_not_fit_are_not_asked(table: cpu_kernel.RowPointers, name: str) -> None:
    with pytest.raises(ValueError, match="queries"):
        table.attend(BAD_QUERIES[name], 1.0)


def test_tokens_and_queries_may_be_views_and_of_another_dtype(table: cpu_kernel.RowPointers) -> None:
    table.append(torch.zeros(2, 2, 64, dtype=torch.bfloat16)[..., ::2], TOKEN.double())
    assert list(table.tokens) == [4, 5]
    assert torch.equal(table.attend(torch.zeros(4, 2, 32).transpose(0, 1), 1.0)[0, 0], torch.full((32,), 0.75))


def test_states_live_as_long_as_what_points_to_them(table: cpu_kernel.RowPointers) -> None:
    gc.collect()
    table.append(TOKEN, TOKEN)
    assert [keys[:, length].abs().sum() for (keys, _), length in zip(table.states, (3, 4), strict=True)] == [0, 0]


def test_memory_that_is_refused_within_the_compiled_functions_is_said(table: cpu_kernel.RowPointers) -> None:
    table.tokens[1] = 2**60  # weights of so many tokens are asked for before anything is read
    with pytest.raises(MemoryError, match="1152921504606846976 tokens"):
        table.attend(QUERY, 1.0)
