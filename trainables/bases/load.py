"""Load a frozen base model: its own dropout off, quantized where asked, with the faster ways that it can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.bases import probes
from trainables.config import TrainConfig
from trainables.errors import UserError
from trainables.model_files.load_pretrained import check_finite, configuration, from_files, quiet
from trainables.modeling.base_model import DTYPES, LoadedBase
from trainables.modeling.dequantize import four_bit_layers
from trainables.modeling.rotary_positions import choose_by_row


def check_device(train: TrainConfig, device: str) -> None:
    """Raise UserError for a device that is absent or a precision that it cannot compute in."""
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device must be one that is here, got {device!r}: torch finds no GPU")
    if train.precision == "auto":
        raise UserError("precision must be resolved before a trial runs, got 'auto'")
    if train.precision == "fp16" and device == "cpu":
        raise UserError("precision must be fp32 or bf16 on a CPU, got 'fp16'")


def load_base(folder: str | Path, train: TrainConfig, device: str, trust_remote_code: bool = False) -> LoadedBase:
    """Load the base as this trial needs it: frozen, on the device, in eval mode; raises UserError where it cannot."""
    from transformers import GenerationConfig

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
    keep_head_input_whole(model)
    base = LoadedBase(model, dropout_switched_off=dropout)
    base.allow("rotary_boundary_tokens", choose_by_row(model))
    model.requires_grad_(False)
    model.eval()
    probes.probe(base, train.precision, device)
    # What a folder recommends for generation (sampling, penalties, lengths) must not leak into an evaluation.
    model.generation_config = GenerationConfig()
    return base


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


def nf4(compute: torch.dtype) -> Any:
    """Return how a base is quantized: NF4 with doubly quantized scales."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
