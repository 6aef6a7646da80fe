"""Where a value lies at an end of its axis, and that the command line reads the wider range as one."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.findings.searches.bounds import bound_of, spelled
from analysis.findings.searches.points import Axis
from search_spaces.spreads import Choice, FloatRange, IntegerRange, Ratio, Spread
from sweep.request.axes import parse_axes

RATE, RANKS = FloatRange(5e-5, 5e-3, log=True), Choice((4, 8, 16, 32))
FIELDS: dict[str, Spread] = {"learning_rate": RATE, "lora_dropout": FloatRange(0, 0.2)}


@pytest.mark.parametrize(
    ("field", "spread", "value", "wider"),
    [
        ("learning_rate", RATE, 4.5e-3, "learning_rate=log:5e-5..5e-2"),
        ("learning_rate", RATE, 6e-5, "learning_rate=log:5e-6..5e-3"),
        ("learning_rate", RATE, 3e-3, None),  # near on a plain scale alone
        ("lora_dropout", FloatRange(0, 0.2), 0.199, "lora_dropout=0..0.4"),
        ("lora_dropout", FloatRange(0, 0.2), 0.001, None),  # the field ends there
        ("lora_rank", IntegerRange(1, 64, log=True), 64, "lora_rank=log:1..256"),
        ("lora_rank", IntegerRange(1, 64, log=True), 1, None),
        ("lora_rank", RANKS, 32, "lora_rank=4,8,16,32,64"),
        ("lora_rank", RANKS, 4, "lora_rank=2,4,8,16,32"),
        ("lora_rank", RANKS, 16, None),
        ("lora_alpha", Ratio("lora_rank", 1, 4), 3.95, "lora_alpha=ratio:lora_rank:1..7"),
        ("prompt", Choice(("v1", "v2")), "v2", None),
    ],
)
def test_the_wider_range_is_spelled_as_it_is_typed(field: str, spread: Any, value: Any, wider: str | None) -> None:
    found = bound_of(Axis(field, field, spread), value)
    assert (found.wider if found else None) == wider
    if wider is None:
        return
    axes, ranges = parse_axes([wider])
    old, new = (spread.values, axes[field]) if isinstance(spread, Choice) else ((spread,), (ranges[field],))
    if isinstance(spread, Choice):
        assert set(new) > set(old)
    else:
        assert (new[0].low, new[0].high, new[0].log) != (spread.low, spread.high, spread.log)
        assert new[0].low <= spread.low < spread.high <= new[0].high


@pytest.mark.parametrize("spread", [RATE, FloatRange(0, 0.2), IntegerRange(1, 64), Ratio("lora_rank", 1, 4, log=True)])
def test_a_range_is_read_back_as_it_was(spread: Any) -> None:
    field = {IntegerRange: "lora_rank", Ratio: "lora_alpha"}.get(type(spread), "learning_rate")
    assert parse_axes([f"{field}={spelled(Axis(field, field, spread))}"])[1] == {field: spread}
