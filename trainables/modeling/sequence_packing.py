"""Whether a base may read rows in a string, one behind another in the place of one row: found out by doing it."""

from __future__ import annotations

from typing import Any

import torch

from trainables.modeling import attention
from trainables.modeling.base_model import agree
from trainables.modeling.loss import Batch, collate, completion_nll, row_of, string
from trainables.modeling.rotary_positions import boundary_tokens
from trainables.tokenization.token_rows import Row

CHECKED = "_reads_strings"
LENGTHS = (5, 9, 6)


def try_strings(model: Any) -> None:
    """Read three rows in a string: their losses must be those of each alone, in the base's arithmetic."""
    setattr(model, CHECKED, _is_eligible(model) and _agrees(model))


def reads_strings(model: Any) -> bool:
    """Tell what `try_strings` found."""
    return bool(getattr(model, CHECKED, False))


def _is_eligible(model: Any) -> bool:
    config = model.config.get_text_config(decoder=True)
    # A window over the last tokens is a mask, and strings have none.
    has_windows = getattr(config, "sliding_window", None) is not None or any(
        kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()
    )
    # Rows of a string are one row to rotary positions that look at how long it is.
    is_told_apart = not has_windows and boundary_tokens(model) is None
    return config._attn_implementation == attention.NAME and is_told_apart and not model._is_stateful


def _agrees(model: Any) -> bool:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = []
    for number, length in enumerate(LENGTHS):
        ids = tuple((7 * token + 3 * number + 1) % vocabulary for token in range(length))
        rows.append(Row(str(number), ids[:2], ids[2:], 0, True))
    whole = collate(rows, 0)
    each = [row_of(whole, number) for number in range(len(rows))]
    try:
        with torch.no_grad():
            wanted = torch.cat([completion_nll(model, one) for one in each])
            found = _read(model, each)
    except Exception:  # of a model that does something else with its rows: they are taken one by one
        return False
    return agree(found, wanted, model.dtype)


def _read(model: Any, each: list[Batch]) -> torch.Tensor:
    with attention.strung([one.input_ids_BT.shape[1] for one in each]):
        return completion_nll(model, string(each))
