"""A model as transformers loads it, without its log lines, once every weight comes from its files and is a number."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainables.errors import UserError
from trainables.model_files.weight_differences import BUFFERS, WeightDifferences, differences_problem, prefix_problem
from trainables.model_files.weight_files import weights_problem


def configuration(folder: str | Path, trust_remote_code: bool) -> Any:
    """Read a model's configuration; raises UserError where the library cannot."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        hint = "; it has code of its own, which --trust-remote-code lets run" if "custom code" in str(error) else ""
        raise UserError(f"{folder} cannot be loaded: {str(error).splitlines()[0]}{hint}") from None


def from_files(folder: str | Path, trust_remote_code: bool, **options: Any) -> Any:
    """Load a causal language model; raises UserError unless every weight of it comes from its files, and all of them.

    The library makes up what is missing and drops what is left over, in its log alone.
    """
    from transformers import AutoModelForCausalLM

    problem = weights_problem(Path(folder))
    if problem:
        raise UserError(problem)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # else it raises an error that names none of them
            **options,
        )
    except OSError as error:
        raise UserError(f"{folder} cannot be loaded as a causal language model: {error}") from None
    left_over = tuple(name for name in found["unexpected_keys"] if not name.endswith(BUFFERS))
    misshapen = sorted((name, tuple(has), tuple(wanted)) for name, has, wanted in found["mismatched_keys"])
    different = WeightDifferences(tuple(found["missing_keys"]), left_over, tuple(misshapen))
    problem = prefix_problem(Path(folder), left_over) or differences_problem(Path(folder), different)
    if problem:
        raise UserError(problem)
    return model


def load_without_memory(folder: Path, trust_remote_code: bool) -> Any:
    """Return a model of shapes without weights; raises UserError as `from_files` does, before a weight is read."""
    with quiet():
        config = configuration(folder, trust_remote_code)
        return from_files(folder, trust_remote_code, config=config, device_map="meta")


@torch.no_grad()
def check_finite(folder: str | Path, model: nn.Module, precision: str) -> None:
    """Raise UserError naming weights that hold NaN or infinity: all that is computed with them would be NaN."""
    wrong = {}
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        values = parameter if state is None else dequantized(parameter, state)
        if values.is_floating_point() and not values.isfinite().all():
            wrong[name] = "NaN" if values.isnan().any() else "infinity"
    if not wrong:
        return
    first = next(iter(wrong))
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    hint = "; its numbers may be too large for fp16: take precision=bf16 or fp32" if precision == "fp16" else ""
    raise UserError(f"{folder} holds weights that are no numbers: {wrong[first]} in {first}{more}{hint}")


def dequantized(parameter: nn.Parameter, state: Any) -> torch.Tensor:
    """Return the values that a 4-bit weight stands for."""
    import bitsandbytes

    values: torch.Tensor = bitsandbytes.functional.dequantize_4bit(parameter.data, state)
    return values


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, log lines and progress bars of the libraries inside the block."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
