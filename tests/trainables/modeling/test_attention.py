"""Attention over whole rows padded on the right: the plain library's losses, and a mask only where one is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from engine_inputs import trial, write_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from trainables.bases.load import load_base
from trainables.modeling import attention
from trainables.modeling.loss import collate, completion_nll
from trainables.tokenization.token_rows import TokenRow

WINDOW = 64  # of the tests' Mistral
ROWS = [
    TokenRow(str(number), tuple(range(3, 3 + prompt)), (7, 8, 9 + number), 0, True)
    for number, prompt in enumerate((2 * WINDOW, WINDOW - 1, 20, 5))
]


def losses_of_the_library(folder: Path) -> torch.Tensor:
    """Return the losses of all completion tokens, each row alone and whole, by the library's eager attention."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    found = []
    for row in ROWS:
        ids = torch.tensor([row.prompt_ids + row.target_ids])
        logits_TV = model(input_ids=ids).logits[0]
        start = len(row.prompt_ids)
        found.append(cross_entropy(logits_TV[start - 1 : -1], ids[0, start:], reduction="none"))
    return torch.cat(found)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "phi", "gemma", "falcon"])
@torch.no_grad()
def test_losses_of_padded_rows_are_those_of_each_row_in_the_library(tmp_path: Path, family: str) -> None:
    folder = write_model(tmp_path / "m", family)
    found = completion_nll(load_base(folder, trial().train, "cpu"), collate(ROWS, 0))
    torch.testing.assert_close(found, losses_of_the_library(folder), rtol=1e-5, atol=1e-5)


def test_attention_that_computes_something_else_is_left_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a model that hands over what this attention does not look at."""
    plain = attention.attend

    def forgets_the_first_token(module: Any, query: Any, key: Any, value: Any, *others: Any, **more: Any) -> Any:
        return plain(module, query, key, value.index_fill(2, torch.tensor(0), 0.0), *others, **more)

    folder = write_model(tmp_path / "m", spread=0.2)
    assert load_base(folder, trial().train, "cpu").model.config._attn_implementation == attention.NAME
    monkeypatch.setattr(attention, "attend", forgets_the_first_token)
    assert load_base(folder, trial().train, "cpu").model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(("family", "masks"), [("gpt2", 0), ("llama", 0), ("mistral", 1)])
@torch.no_grad()
def test_a_mask_is_made_for_a_window_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, masks: int
) -> None:
    base = load_base(write_model(tmp_path / "m", family), trial().train, "cpu")
    made = Mock(wraps=attention.sdpa_mask)
    monkeypatch.setattr(attention, "sdpa_mask", made)
    completion_nll(base, collate(ROWS, 0))
    assert made.call_count == masks
