"""Statistics of paired differences: intervals, the smallest effect that a test set shows, and the size it would need.

Two systems are compared on the same examples, so only their differences per example count. Quantiles come from
scipy.special, which is light; scipy.stats costs more than a second to import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
POWER = 0.8
MOST_EXAMPLES = 10_000_000


@dataclass(frozen=True)
class Paired:
    """Mean of paired differences with its t interval; `low` and `high` are infinite where one example is all."""

    mean: float
    low: float
    high: float
    n: int
    sd: float
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired(differences: Sequence[float], confidence: float = CONFIDENCE) -> Paired | None:
    """Return mean, t interval and two-sided t test of paired differences; None without any."""
    n = len(differences)
    if not n:
        return None
    mean = math.fsum(differences) / n
    if n == 1:
        return Paired(mean, -math.inf, math.inf, 1, math.nan, math.nan)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1))
    error = sd / math.sqrt(n)
    half = _t_quantile(0.5 + confidence / 2, n - 1) * error
    if error:
        p = 2 * _t_below(-abs(mean) / error, n - 1)
    else:
        p = 0.0 if mean else 1.0
    return Paired(mean, mean - half, mean + half, n, sd, p)


def smallest_detectable(sd: float, n: int, power: float = POWER, confidence: float = CONFIDENCE) -> float:
    """Return the true mean difference that a paired t test of `n` examples shows with probability `power`.

    Quantiles of t in place of the normal's keep it honest for a few examples (within 1% of the noncentral t at n = 10).
    """
    if n < 2:
        return math.inf
    return (_t_quantile(0.5 + confidence / 2, n - 1) + _t_quantile(power, n - 1)) * sd / math.sqrt(n)


def examples_needed(sd: float, difference: float, power: float = POWER) -> int | None:
    """Return how many examples show a true mean `difference` with probability `power`; None beyond ten million."""
    if not difference or smallest_detectable(sd, MOST_EXAMPLES, power) > abs(difference):
        return None
    low, high = 1, MOST_EXAMPLES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if smallest_detectable(sd, middle, power) <= abs(difference) else (middle, high)
    return high


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _t_below(value: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, value))
