"""The cache with room: the library's keys and values, and its texts, without copying them at every token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import write_model
from transformers import AutoModelForCausalLM, MistralConfig
from transformers.cache_utils import DynamicCache

from trainables.kv_cache.preallocated import PreallocatedLayer, preallocated_cache


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_model(tmp_path_factory.mktemp("model") / "m", "llama")
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def states(tokens: int, seed: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, tokens, 4, generator=generator), torch.randn(rows, 2, tokens, 4, generator=generator)


def test_it_holds_what_the_dynamic_cache_holds_also_beyond_its_room_and_after_rows_left(model: Any) -> None:
    ours, theirs = PreallocatedLayer(room=6), DynamicCache(config=model.config).layers[0]
    rows = 3
    for seed, tokens in enumerate((4, 1, 1, 1, 2)):
        found, expected = ours.update(*states(tokens, seed, rows)), theirs.update(*states(tokens, seed, rows))
        assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))
        assert ours.get_seq_length() == theirs.get_seq_length()
        if seed == 1:
            for layer in (ours, theirs):
                layer.batch_select_indices(torch.tensor([2, 0]))
            rows = 2
        if seed == 3:
            for layer in (ours, theirs):
                layer.reorder_cache(torch.tensor([1, 1]))
                layer.crop(-1)


def test_a_token_is_written_into_place(model: Any) -> None:
    layer = PreallocatedLayer(room=10)
    layer.update(*states(4, 0))
    place = layer.keys.data_ptr()
    for seed in range(1, 7):
        layer.update(*states(1, seed))
        assert layer.keys.data_ptr() == place
    layer.update(*states(1, 7))
    assert layer.keys.data_ptr() != place


def test_texts_are_those_of_the_librarys_cache(model: Any) -> None:
    ids = torch.randint(1, 257, (5, 20), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :7] = 0
    options = {"attention_mask": mask, "max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}
    found = model.generate(ids, past_key_values=preallocated_cache(model, 36), **options)
    assert torch.equal(found, model.generate(ids, **options))


def test_a_model_with_sliding_windows_keeps_its_own_cache(tmp_path: Path) -> None:
    config = MistralConfig(
        vocab_size=257, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, sliding_window=16,
    )  # fmt: skip
    assert preallocated_cache(AutoModelForCausalLM.from_config(config), 10) is None
