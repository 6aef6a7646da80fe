"""The cache whose shapes stay: what the ragged one gives, and rows that never feel each other's lengths."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_inputs import write_model
from transformers import AutoConfig
from transformers.cache_utils import DynamicCache

from trainables.kv_cache.ragged import Prefill, RaggedFiller
from trainables.kv_cache.static import WIDTH_STEP_TOKENS, StaticFiller

LENGTHS = [5, 0, 9, 5, 2]
GROUPS, HEADS, WIDTH = 2, 4, 8


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoConfig.from_pretrained(write_model(tmp_path_factory.mktemp("model") / "m", "llama"))


def prefilled(config: Any, lengths: list[int], tokens: int = 3 * WIDTH_STEP_TOKENS) -> list[Prefill]:
    """Two batches, each padded on the right; a row's states are its number's alone."""
    found = []
    for rows in (range(2), range(2, len(lengths))):
        cache = DynamicCache(config=config)
        for index in range(len(cache.layers)):
            each = [torch.Generator().manual_seed(100 * index + row) for row in rows]
            keys, values = (
                torch.stack([torch.randn(GROUPS, tokens, WIDTH, generator=one) for one in each]) for _ in range(2)
            )
            cache.update(keys, values, index)
        found.append(Prefill(rows, [lengths[row] for row in rows], cache))
    return found


def decoded(filler: Any, config: Any, lengths: list[int], keep: list[int] | None = None) -> list[torch.Tensor]:
    """Return what each of four tokens attends to, layer by layer; after two tokens only some rows go on."""
    for prefill in prefilled(config, lengths):
        filler.add(prefill)
    cache = filler.cache(config, max(lengths))
    rows, found = list(range(len(lengths))), []
    for token in range(4):
        if token == 2 and keep is not None:
            cache.batch_select_indices(torch.tensor(keep))
            rows = keep
        for index, layer in enumerate(cache.layers):
            each = [torch.Generator().manual_seed(10_000 + 1000 * token + 100 * index + row) for row in rows]
            query = torch.stack([torch.randn(HEADS, 1, WIDTH, generator=one) for one in each])
            key, value = (torch.stack([torch.randn(GROUPS, 1, WIDTH, generator=g) for g in each]) for _ in range(2))
            layer.update(key, value)
            found.append(layer.attend(query, WIDTH**-0.5))
    assert cache.get_seq_length() == max(lengths) + 4
    return found


@pytest.mark.parametrize("keep", [None, [0, 1, 2, 3, 4], [3, 1]], ids=["all stay", "all chosen", "two go on"])
def test_it_attends_as_the_ragged_cache_does(config: Any, keep: list[int] | None) -> None:
    ours = decoded(StaticFiller(LENGTHS, 4), config, LENGTHS, keep)
    theirs = decoded(RaggedFiller(4), config, LENGTHS, keep)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_a_row_has_the_same_bits_whatever_the_others_lengths(config: Any) -> None:
    longer = [*LENGTHS[:2], 2 * WIDTH_STEP_TOKENS, WIDTH_STEP_TOKENS, 3]
    short, wide = StaticFiller(LENGTHS, 4), StaticFiller(longer, 4)
    assert wide.width > 2 * short.width
    for left, right in zip(decoded(short, config, LENGTHS), decoded(wide, config, longer), strict=True):
        assert torch.equal(left[:2], right[:2])


def test_a_token_without_room_is_refused(config: Any) -> None:
    with pytest.raises(AssertionError, match="no room for another token"):
        decoded(StaticFiller(LENGTHS, 3), config, LENGTHS)


def test_buffers_hold_the_longest_row_with_its_room_in_whole_steps(config: Any) -> None:
    filler = StaticFiller(LENGTHS, WIDTH_STEP_TOKENS)
    filler.add(prefilled(config, LENGTHS)[0])
    assert filler.width == 2 * WIDTH_STEP_TOKENS
    assert all(
        buffer.shape == (len(LENGTHS), GROUPS, filler.width, WIDTH) for both in filler.buffers for buffer in both
    )


def test_states_longer_than_the_buffers_are_cut(config: Any) -> None:
    filler = StaticFiller(LENGTHS, 4)
    for prefill in prefilled(config, LENGTHS):
        filler.add(prefill)
    assert filler.buffers[0][0].shape[2] == WIDTH_STEP_TOKENS
