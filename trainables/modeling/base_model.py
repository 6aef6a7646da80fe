"""The frozen base model: loaded once, its own dropout off, quantized where asked, quiet.

Precision: fp32, or bf16 and fp16 base weights under autocast. Adapters and their moments are fp32 always.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a fork after use would warn
# oneDNN keeps a compiled product for each number of rows that it met, 1,024 if not told: half a GB, seldom used again.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

import torch
from torch import nn

from trainables.config import TrainConfig
from trainables.errors import UserError
from trainables.model_files.load_pretrained import check_finite, configuration, from_files, quiet
from trainables.modeling.dequantize import four_bit_layers
from trainables.modeling.rotary_positions import choose_by_row

# bitsandbytes says at its import what it does not find, whoever imports it.
for _name in ("accelerate", "peft", "bitsandbytes"):
    logging.getLogger(_name).setLevel(logging.ERROR)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_device(train: TrainConfig, device: str) -> None:
    """Raise UserError for a device that is absent or a precision that it cannot compute in."""
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device must be one that is here, got {device!r}: torch finds no GPU")
    if train.precision == "auto":
        raise UserError("precision must be resolved before a trial runs, got 'auto'")
    if train.precision == "fp16" and device == "cpu":
        raise UserError("precision must be fp32 or bf16 on a CPU, got 'fp16'")


def arithmetic(precision: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context that every forward pass runs in: training, evaluation and generation alike."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.split(":")[0], dtype=DTYPES[precision])


def load_base(folder: str | Path, train: TrainConfig, device: str, trust_remote_code: bool = False) -> Any:
    """Load the base as this trial needs it: frozen, on the device, in eval mode; raises UserError where it cannot."""
    from transformers import GenerationConfig

    from trainables.decoding.prefill import try_ragged
    from trainables.decoding.token_graph import try_replay
    from trainables.modeling import attention
    from trainables.modeling.last_mlp import try_tail
    from trainables.modeling.sequence_packing import try_strings

    check_device(train, device)
    with quiet():
        config = configuration(folder, trust_remote_code)
        dropout = switch_off_dropout(config)
        use_fused_activation(config)
        options: dict[str, Any] = {"dtype": DTYPES[train.precision], "config": config}
        if train.quantization == "nf4":
            options |= {"quantization_config": nf4(DTYPES[train.precision]), "device_map": {"": device}}
        try:
            model = from_files(folder, trust_remote_code, **options)
        except (ValueError, ImportError, NotImplementedError) as error:
            if train.quantization == "none":
                raise
            cause = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(f"{folder} cannot be quantized to NF4: {cause}; take quantization=none") from None
    check_finite(folder, model, train.precision)
    if train.quantization == "nf4":
        if not four_bit_layers(model):  # the library says so in its log alone, and goes on with the plain weights
            raise UserError(f"{folder} cannot be quantized to NF4: it has no linear layer; take quantization=none")
        keep_trainable_after_evaluation(model)
    else:
        model.to(device)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.base_dropout = dropout
    keep_head_input_whole(model)
    choose_by_row(model)
    attention.use(model)
    model.requires_grad_(False)
    model.eval()
    try_tail(model)
    try_ragged(model)
    if device == "cpu":
        try_strings(model)
    else:
        with arithmetic(train.precision, device):
            try_replay(model)
    # What a folder recommends for generation (sampling, penalties, lengths) must not leak into an evaluation.
    model.generation_config = GenerationConfig()
    return model


def switch_off_dropout(config: Any) -> dict[str, float]:
    """Set every dropout rate of a model's configuration to zero and return those that were not.

    Left on, the base's dropout draws from the process's generator over all rows: a loss that depends on neighbours.
    """
    rates = {
        name: value
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("_pdrop")) and isinstance(value, float) and value > 0
    }
    for name in rates:
        setattr(config, name, 0.0)
    return rates


def use_fused_activation(config: Any) -> None:
    """Compute the tanh form of GELU in one kernel instead of seven: the same function to the last bits, faster."""
    for name in ("activation_function", "hidden_act"):
        if getattr(config, name, None) == "gelu_new":
            setattr(config, name, "gelu_pytorch_tanh")


def keep_head_input_whole(model: Any) -> None:
    """Hand the output head contiguous hidden states.

    A prefill slices the last column, and a product with such a slice copies the head's weight for every row of it:
    half of the time of writing 20 tokens with GPT-2 on a CPU.
    """

    def whole(head: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].contiguous(), *inputs[1:])

    model.get_output_embeddings().register_forward_pre_hook(whole)


def keep_trainable_after_evaluation(model: nn.Module) -> None:
    """Forbid bitsandbytes to repack 4-bit layers for inference on a CPU: it never undoes that.

    After the first forward pass in eval mode without gradients GPT-2 and Phi would crash in training, and Llama would
    silently lose gradients.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def agree(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype) -> bool:
    """Tell whether two ways of computing the same agree as far as this arithmetic goes."""
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    return bool((found - wanted).abs().max() <= tolerance * wanted.abs().max())


@torch.no_grad()
def sample_logits(model: Any) -> torch.Tensor:
    """Return the logits of a short text, shape (1, 8, vocabulary), by which two ways of computing are compared."""
    device = model.get_input_embeddings().weight.device
    ids_BT = torch.arange(1, 9, device=device)[None] % model.get_input_embeddings().weight.shape[0]
    logits: torch.Tensor = model(input_ids=ids_BT, use_cache=False).logits
    return logits


def unwrapped(model: Any) -> Any:
    """Return the base of a model that PEFT has wrapped, others as they are."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Return where a model's tokens are to be."""
    found: torch.device = model.get_input_embeddings().weight.device
    return found


@contextlib.contextmanager
def forwarding(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Have a module compute by `forward` in this block, and by what it had afterwards, be it a library's."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def recomputes(model: nn.Module) -> bool:
    """Tell whether layers are computed a second time in the backward pass, to save memory."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """Return (trainable, total) parameters; a 4-bit weight counts as the elements that it stands for."""
    trainable = total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        size = state.shape.numel() if state is not None else parameter.numel()
        total += size
        trainable += size if parameter.requires_grad else 0
    return trainable, total


def nf4(compute: torch.dtype) -> Any:
    """Return how a base is quantized: NF4 with doubly quantized scales."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
