"""The last layer's MLP on completion tokens alone: what it adds to other tokens is never looked at.

Only the last layer's hidden states at completion tokens go to the output head, and no other layer follows, so for a
prompt of nine tokens in ten this leaves out most of the largest part of one layer, forward and backward. The keys and
values that a cache keeps are made before it. Left as it is where an adapter trains in it, whose dropout masks are of
whole rows, and where layers are recomputed backward.

Shapes: B rows, T padded tokens, N completion tokens of all rows, D hidden width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from trainables.modeling.base_model import LoadedBase, forwarding, recomputes, unwrapped
from trainables.modeling.multi_lora import PackedLinear


@contextmanager
def completion_tokens_only(base: LoadedBase, row_N: Tensor, column_N: Tensor) -> Iterator[None]:
    """Have the last MLP compute these tokens alone, where the base bears that; it adds nothing to the others."""
    model, name = base.model, base.capabilities.last_mlp
    mlp = unwrapped(model).get_submodule(name) if name else None
    if mlp is None or (model.training and recomputes(model)) or _is_adapted(mlp):
        yield
        return
    forward = mlp.forward

    def narrowed(x_BTD: Tensor, *others: Any, **more: Any) -> Tensor:
        rows, tokens, _ = x_BTD.shape
        at_N = row_N * tokens + column_N
        out_1ND = forward(x_BTD.flatten(0, 1).index_select(0, at_N).unsqueeze(0), *others, **more)
        whole = out_1ND.new_zeros(rows * tokens, out_1ND.shape[-1])
        return whole.index_copy(0, at_N, out_1ND[0]).view(rows, tokens, -1)

    with forwarding(mlp, narrowed):
        yield


def _is_adapted(mlp: nn.Module) -> bool:
    """Tell whether an adapter of the batch now in the model adds to a layer of the MLP."""
    return any(isinstance(module, PackedLinear) and module.adds_now() for module in mlp.modules()) or any(
        parameter.requires_grad for parameter in mlp.parameters()
    )


def last_mlp(model: Any) -> str | None:
    """Return the name of the MLP of the last layer, None for a model that has none under the usual name."""
    layers = model.config.get_text_config(decoder=True).num_hidden_layers
    found = [name for name, _ in model.named_modules() if re.search(rf"\.{layers - 1}\.mlp$", name)]
    return found[0] if len(found) == 1 else None
