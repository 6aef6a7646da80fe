"""Frozen linear layers whose weights lie as oneDNN wants them: a plain product on a CPU rearranges its own each time.

A layer keeps its weight twice, once for each direction, and no longer as it was. The products are the same in bf16 and
the same up to rounding in fp32. GPT-2's shape on two AVX512-BF16 cores (docs/decisions/0039): 80 rows by 768 x 3,072 at
197 in place of 105 GFLOP/s in fp32 and 394 in place of 311 in bf16; of 1,000 rows 219 and 176, 374 and 356.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from trainables.hardware import machine
from trainables.modeling.agreement import agree, sample_logits, why_not
from trainables.modeling.base_model import LoadedBase

SHARE = 1 / 4  # of the memory that may be used, at most, for both copies of all weights
DTYPES = (torch.float32, torch.bfloat16)
USUAL_ROWS = 256  # the layout hardly depends on it
PROCESSORS = ("x86_64", "AMD64")  # oneDNN's own products; elsewhere others stand behind the same name


class _Product(torch.autograd.Function):
    """x W^T + b whose weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_OI: Tensor, backward_IO: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.backward_IO = backward_IO
        return _linear(x, forward_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _linear(gradients[0], ctx.backward_IO, None), None, None, None


class AbsentWeight(Tensor):
    """What a blocked layer shows as its weight: dtype and shape, which models ask for, and nothing to compute with.

    torch multiplies an ordinary tensor with a plain one on "meta" without a word, and gives whatever the memory held.
    """

    TOLD = frozenset(("__get__", "size", "dim", "numel", "is_floating_point"))

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if function.__name__ not in cls.TOLD:
            raise TypeError(f"a blocked layer has no weight for {function.__name__}")
        return super().__torch_function__(function, types, arguments, named or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> AbsentWeight:
        return self


class BlockedLinear(nn.Module):
    """What a linear layer or a Conv1D computes, in the dtype of its weight whatever autocast says.

    Raises ValueError for weights and inputs that the products are not made for, before they see them: oneDNN's own word
    for another width is that of memory that is refused.
    """

    def __init__(self, layer: nn.Linear | Conv1D, keeps_weight: bool = False) -> None:
        super().__init__()
        self.is_conv1d = isinstance(layer, Conv1D)
        weight_OI: Tensor = layer.weight.data.t() if self.is_conv1d else layer.weight.data
        bias: Tensor | None = layer.bias
        is_fit = weight_OI.dim() == 2 and _is_plain(weight_OI) and weight_OI.dtype in DTYPES
        has_fit_bias = bias is None or (
            _is_plain(bias) and bias.shape == weight_OI.shape[:1] and bias.dtype == weight_OI.dtype
        )
        if not is_fit or not has_fit_bias:
            raise ValueError(f"blocked product: no weight {weight_OI.shape} {weight_OI.dtype} on {weight_OI.device}")
        self.out_features, self.in_features = weight_OI.shape
        self.register_buffer("forward_OI", _blocked(weight_OI), persistent=False)
        self.register_buffer("backward_IO", _blocked(weight_OI.t()), persistent=False)
        self.bias = bias
        self.dtype = weight_OI.dtype
        # Models ask a weight for its dtype and shape; one that is an embedding, too, is there anyway.
        self.weight = layer.weight if keeps_weight else layer.weight.data.to("meta").as_subclass(AbsentWeight)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (..., I) -> (..., O)."""
        if not _is_plain(x) or x.dim() == 0 or x.shape[-1] != self.in_features:
            raise ValueError(f"blocked product: inputs are (..., {self.in_features}), got {x.shape} on {x.device}")
        x = x.to(self.dtype)
        if torch.is_grad_enabled() and x.requires_grad:
            found: Tensor = _Product.apply(x, self.forward_OI, self.backward_IO, self.bias)
            return found
        assert isinstance(self.forward_OI, Tensor)
        return _linear(x, self.forward_OI, self.bias)


def block_where_room(base: LoadedBase, device: str, memory_bytes: int) -> bool:
    """Block the linear layers of a base in place where that is possible and known to pay; tells whether it was done.

    `memory_bytes`: what may be used in all. It decides and not what happens to be free, so that a sweep that is
    continued computes as it began.
    """
    model = base.model
    layers = plain_layers(model)
    needed = 2 * sum(layer.weight.nbytes for _, layer in layers)
    dtypes = {layer.weight.dtype for _, layer in layers}
    if not layers or needed > SHARE * memory_bytes or not all(is_possible(device, dtype) for dtype in dtypes):
        return False
    embedding = model.get_input_embeddings().weight
    wanted = _logits(model)

    def blocked() -> list[tuple[Tensor, Tensor]]:
        for name, layer in layers:
            _put(model, name, BlockedLinear(layer, keeps_weight=layer.weight is embedding))
        return list(zip(_logits(model), wanted, strict=True))

    # A processor, or a model that does something else with its weights, may refuse.
    reason = why_not(blocked, lambda found, one: agree(found, one, model.dtype))
    if reason is None:
        return True
    for name, layer in layers:
        _put(model, name, layer)
    base.refuse("blocked_weights", reason)
    return False


def _logits(model: Any) -> list[Tensor]:
    """Return the logits of a short text as it is read and as it is trained on: Gemma 3n clamps weights in training."""
    was_training, found = model.training, []
    try:
        for is_training in (False, True):
            model.train(is_training)
            found.append(sample_logits(model))
    finally:
        model.train(was_training)
    return found


def is_possible(device: str, dtype: torch.dtype) -> bool:
    """Tell whether a weight of this dtype can be blocked on this device: in bf16 oneDNN needs AVX-512."""
    if device != "cpu" or platform.machine() not in PROCESSORS or not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and machine.has_avx512())


def plain_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the linear layers by name, those of the library's or a model's own making left out."""
    return [(name, one) for name, one in model.named_modules() if type(one) in (nn.Linear, Conv1D)]


def _is_plain(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.layout == torch.strided and x.is_floating_point()


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def _blocked(weight_OI: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI.contiguous(), USUAL_ROWS)
    return found


def _linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight_OI, bias_O, "none", [], "")
    return found
