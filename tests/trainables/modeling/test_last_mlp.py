"""The last MLP on completion tokens alone: the losses and gradients of the whole, and left whole where it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import TARGETS, trial, write_model
from torch import nn

from trainables.bases.load import load_base
from trainables.bases.probes import probe_last_mlp
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.loss import collate, completion_nll
from trainables.modeling.multi_lora import AdapterRows, PackedBase
from trainables.tokenization.token_rows import TokenRow

ROWS = [TokenRow("0", tuple(range(3, 30)), (7, 8, 9), 0, True), TokenRow("1", tuple(range(9, 20)), (1, 2), 0, True)]
COMPLETION_TOKENS = 5


def tokens_of_last_mlp(base: LoadedBase, run: Any) -> list[int]:
    """Return the tokens that the last MLP's activation sees during a run."""
    seen: list[int] = []
    name = base.capabilities.last_mlp
    assert name is not None
    mlp = base.model.get_submodule(name)
    handle = (mlp.act if hasattr(mlp, "act") else mlp.act_fn).register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[:-1].numel())
    )
    try:
        run()
    finally:
        handle.remove()
    return seen


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen2", "phi", "gemma"])
def test_losses_and_gradients_are_those_of_the_whole(tmp_path: Path, family: str) -> None:
    loaded = load_base(write_model(tmp_path / "m", family), trial().train, "cpu")
    base = PackedBase(loaded, 0, pad_id=0)
    adapter = base.adapter(trial(target_modules=TARGETS[family]).train, "cpu")
    with torch.no_grad():
        adapter.flat.add_(torch.randn(adapter.flat.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
    assert loaded.capabilities.last_mlp is not None

    def read() -> tuple[torch.Tensor, torch.Tensor]:
        adapter.flat_gradient.zero_()
        base.route.send([AdapterRows(adapter, 0, 2)], training=True)
        nll_N = completion_nll(loaded, collate(ROWS, 0))
        nll_N.sum().backward()
        return nll_N.detach(), adapter.flat_gradient.clone()

    narrow = read()
    loaded.allow("last_mlp", None)
    whole = read()
    assert whole[1].abs().max() > 0
    for ours, theirs in zip(narrow, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_only_completion_tokens_reach_it(tmp_path: Path) -> None:
    loaded = load_base(write_model(tmp_path / "m"), trial().train, "cpu")
    assert tokens_of_last_mlp(loaded, lambda: completion_nll(loaded, collate(ROWS, 0))) == [COMPLETION_TOKENS]
    assert tokens_of_last_mlp(loaded, lambda: loaded.model(input_ids=torch.ones(1, 9, dtype=torch.long))) == [9]


def test_an_adapter_in_it_trains_on_whole_rows(tmp_path: Path) -> None:
    loaded = load_base(write_model(tmp_path / "m", "llama"), trial().train, "cpu")
    base = PackedBase(loaded, 0, pad_id=0)
    inside, outside = (
        base.adapter(trial(target_modules=targets).train, "cpu") for targets in (("up_proj",), ("q_proj",))
    )
    for adapter, tokens in ((inside, 2 * 32), (outside, COMPLETION_TOKENS)):
        base.route.send([AdapterRows(adapter, 0, 2)], training=True)
        assert tokens_of_last_mlp(loaded, lambda: completion_nll(loaded, collate(ROWS, 0))) == [tokens]


def test_trainable_weights_in_it_and_recomputed_layers_keep_it_whole(tmp_path: Path) -> None:
    loaded = load_base(write_model(tmp_path / "m"), trial().train, "cpu")
    batch = collate(ROWS, 0)
    loaded.model.gradient_checkpointing_enable({"use_reentrant": False})
    loaded.model.train()
    assert tokens_of_last_mlp(loaded, lambda: completion_nll(loaded, batch)) == [2 * 32]
    loaded.model.gradient_checkpointing_disable()
    next(loaded.model.get_submodule(str(loaded.capabilities.last_mlp)).parameters()).requires_grad_(True)
    assert tokens_of_last_mlp(loaded, lambda: completion_nll(loaded, batch)) == [2 * 32]


def test_a_model_whose_last_mlp_looks_at_all_tokens_keeps_it_whole(tmp_path: Path) -> None:
    loaded = load_base(write_model(tmp_path / "m"), trial().train, "cpu")

    class Mixing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumsum(1)

    loaded.model.get_submodule("transformer.h")[-1].mlp = Mixing()
    probe_last_mlp(loaded)
    assert loaded.capabilities.last_mlp is None
    assert "differ" in loaded.capabilities.refused["last_mlp"]


def test_a_model_without_one_of_that_name_is_left_alone(tmp_path: Path) -> None:
    found = load_base(write_model(tmp_path / "m", "opt"), trial().train, "cpu").capabilities
    assert found.last_mlp is None
    assert found.refused["last_mlp"] == "the last layer has no module called mlp"
