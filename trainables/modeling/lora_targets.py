"""The layers that an adapter has, chosen on the model itself: matched as PEFT matches them, and reached by text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from trainables.errors import UserError
from trainables.model_files.adaptable_layers import refusal
from trainables.modeling.onednn_linear import BlockedLinear


def chosen(model: Any, targets: Sequence[str], label: str) -> list[str]:
    """Return the names of the layers meant by `targets`, in the order of the model; raises UserError without any."""
    modules = dict(model.named_modules())
    reached, config = _reached(model, modules), model.config.to_dict()
    found, refused = [], {}
    for name, layer in modules.items():
        if not any(name == target or name.endswith(f".{target}") for target in targets):
            continue
        reason = refusal(config, name)
        if reason is None and not name.startswith(reached):
            reason = "no text reaches it"
        if reason is None and not is_linear(layer):
            reason = f"it is a {type(layer).__name__}, no linear layer"
        if reason is None:
            found.append(name)
        else:
            refused[name] = reason
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in found):
            of_layers = next((one for name, one in refused.items() if f".{name}".endswith(f".{target}")), None)
            why = of_layers or refusal(config, target) or "no layer has the name"
            raise UserError(f"target_modules: {target!r} of {label} can have no adapter: {why}")
    return found


def by_peft(model: Any, targets: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return how PEFT is told of the chosen layers: by the targets, or each by its name where they mean others too."""
    others = set(dict(model.named_modules())) - set(names)
    are_exact = not any(one == target or one.endswith(f".{target}") for one in others for target in targets)
    return list(targets) if are_exact else list(names)


def is_linear(layer: nn.Module) -> bool:
    """Tell whether a layer, or what is wrapped in it, is a linear one."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(getattr(layer, "base_layer", layer), nn.Linear | Conv1D | BlockedLinear)


def _reached(model: Any, modules: dict[str, nn.Module]) -> tuple[str, ...]:
    """Return what the names of layers that text goes through begin with: the decoder's and the output head's."""
    names = {id(module): name for name, module in modules.items()}
    decoder, head = names.get(id(model.get_decoder()), ""), names.get(id(model.get_output_embeddings()))
    return (f"{decoder}." if decoder else "", *([head] if head else []))
