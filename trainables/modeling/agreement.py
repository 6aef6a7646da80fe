"""Whether a faster way of computing gives the numbers of the plain one: a small input is computed both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Refused(Exception):
    """A faster way is not taken, for the reason that the message says."""


def why_not(
    compute: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    same: Callable[[Tensor, Tensor], bool],
    is_fatal: Callable[[Exception], bool] = lambda error: False,
) -> str | None:
    """Return None where all pairs (the faster way's numbers, the plain way's) are the same, else why not, in a line.

    A fault of the model's code or the driver is such a reason, since the plain way is there for it. Raises what is
    fatal.
    """
    try:
        for found, wanted in compute():
            if not same(found, wanted):
                difference = float((found.double() - wanted.double()).abs().max())
                return f"its numbers differ by up to {difference:.2g} from the plain way's"
    except Refused as reason:
        return str(reason)
    except Exception as error:
        if is_fatal(error):
            raise
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def agree(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether two tensors are the same up to the rounding of this dtype."""
    tolerance = 1e-4 if dtype == torch.float32 else 0.05
    return bool((found - wanted).abs().max() <= tolerance * wanted.abs().max())


@torch.no_grad()
def sample_logits(model: Any) -> Tensor:
    """Return a model's logits of a short text, shape (1, 8, vocabulary), to compare two ways of computing by."""
    device = model.get_input_embeddings().weight.device
    ids_BT = torch.arange(1, 9, device=device)[None] % model.get_input_embeddings().weight.shape[0]
    logits: Tensor = model(input_ids=ids_BT, use_cache=False).logits
    return logits
