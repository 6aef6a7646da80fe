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
FEWEST_EXAMPLES = (
    6  # examples from which intervals and verdicts are given: five have no two-sided sign-flip p below 2/2^5 = 0.06
)
SAME = 1e-12  # an SD of differences below this is none


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

    @property
    def varies(self) -> bool:
        """Whether the differences are not all equal: without that nothing can be said of other examples."""
        return self.n > 1 and self.sd > SAME

    @property
    def is_same(self) -> bool:
        """Whether both are equal on every example."""
        return not self.sd > SAME and abs(self.mean) <= SAME

    @property
    def has_interval(self) -> bool:
        """Whether there are enough examples, and enough unlike, for an interval that means something."""
        return self.n >= FEWEST_EXAMPLES and self.varies


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


def examples_needed(
    sd: float, difference: float, power: float = POWER, confidence: float = CONFIDENCE, seen: int | None = None
) -> int | None:
    """Return how many examples show a true mean `difference` with probability `power`; None beyond ten million.

    Args:
        seen: examples that `sd` was estimated from. Its upper 80% limit is taken then (Browne 1995), since a number
            from an SD that came out low by chance would not suffice.
    """
    sd = sd if seen is None else upper_sd(sd, seen)

    def suffices(n: int) -> bool:
        return smallest_detectable(sd, n, power, confidence) <= abs(difference)

    if not difference or not suffices(MOST_EXAMPLES):
        return None
    low, high = 1, MOST_EXAMPLES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def upper_sd(sd: float, n: int, confidence: float = 0.8) -> float:
    """Return the one-sided upper confidence limit of a standard deviation that `n` examples gave."""
    if n < 2:
        return math.inf if sd else 0.0
    from scipy.special import chdtri

    return sd * math.sqrt((n - 1) / float(chdtri(n - 1, confidence)))


def _t_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _t_below(value: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, value))
