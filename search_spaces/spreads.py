"""What an axis of a search may be: a range of numbers, a choice of values, or a ratio to another field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from trainables.errors import UserError, shown


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`, uniform or uniform in their logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range("log_uniform" if self.log else "uniform", self.low, self.high, self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def told(self) -> str:
        """Return what a value of it must be."""
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class IntegerRange:
    """Whole numbers from `low` to `high`, both included, uniform or uniform in their logarithm."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise UserError(f"integer({name}) must be a whole number, got {shown(value)}")
        _check_range("integer", self.low, self.high, self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def told(self) -> str:
        """Return what a value of it must be."""
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Choice:
    """One of several values, without an order."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        return value in self.values

    @property
    def told(self) -> str:
        """Return what a value of it must be."""
        return f"one of {', '.join(map(as_text, self.values))}"


@dataclass(frozen=True)
class Ratio:
    """A value that is `low` to `high` times the field `of`: lora_alpha as one to four times lora_rank."""

    of: str
    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range("ratio", self.low, self.high, self.log)
        if self.low <= 0:
            raise UserError(f"ratio({self.of!r}) must be above 0, got low {shown(self.low)}")

    def holds(self, value: Any) -> bool:
        return FloatRange(self.low, self.high).holds(value)

    @property
    def told(self) -> str:
        """Return what a value of it must be."""
        return f"{self.low:g} to {self.high:g} times {self.of}"


Spread = FloatRange | IntegerRange | Choice | Ratio


def as_text(value: Any) -> str:
    """Return a value of a choice as text: a list's parts joined by +."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _check_range(kind: str, low: Any, high: Any, log: bool) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{kind}: {name} must be a finite number, got {shown(value)}")
    if low >= high:
        raise UserError(f"{kind}: low must be below high, got {low:g} and {high:g}")
    if log and low <= 0:
        raise UserError(
            f"{kind}: a logarithmic range must begin above 0, got {low:g}; take a small number, such as {high / 100:g}"
            if high > 0
            else f"{kind}: a logarithmic range must be above 0, got {low:g} to {high:g}"
        )
