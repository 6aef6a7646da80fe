"""What is fixed of a race before its first look: sizes, margin, error, and what so many examples can settle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.statistics.alpha_spending import by_power, critical_values, spend
from analysis.statistics.multiple_testing import ALPHA

LEAST_MARGIN = 0.01  # one point of a score; for a loss 0.01, which is 1% of perplexity
SIMILAR_SD = (0.14, 0.19)  # paired differences of similar configurations in ROUGE-L have such an SD
FIRST_EXAMPLES = 16
HALF_STEPS_FROM = 64  # sizes double up to here, then go by 3/2 and 4/3


@dataclass(frozen=True)
class RaceRules:
    """What is fixed before the first look; margin None: the smallest from one point that `looks[-1]` can settle."""

    looks: tuple[int, ...]
    margin: float | None = None
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if not self.looks or list(self.looks) != sorted(set(self.looks)) or self.looks[0] < 2:
            raise ValueError(f"looks must ascend from at least 2 examples, got {self.looks}")
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise ValueError(f"margin must be above 0, got {self.margin}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, got {self.alpha}")


def looks(start: int, most: int) -> tuple[int, ...]:
    """Return the sizes 16, 32, 64, 96, 128, 192, ... from `start` up to all examples, without a short last step."""
    found, size = [], start
    while 5 * size <= 4 * most:
        found.append(size)
        octave = 2 ** int(math.log2(size / start)) * start
        size = size + octave // 2 if size >= HALF_STEPS_FROM else 2 * size
    if found and most > 1.5 * found[-1] and most > HALF_STEPS_FROM:
        found.append((found[-1] + most) // 2)
    return (*found, most)


def settles_from(
    examples: int, sd: float, configurations: int, alpha: float = ALPHA, start: int = FIRST_EXAMPLES
) -> float:
    """Return the margin within which so many examples settle a choice of so many configurations, for `plan`.

    Args:
        sd: of paired differences of similar configurations, `SIMILAR_SD` where nothing better is known.
    """
    rules = RaceRules(looks(min(start, examples), examples), alpha=alpha)
    return _last_bound(sd, rules, configurations)


def auto_margin(sd: float, rules: RaceRules, configurations: int) -> float:
    """Return the smallest margin, at least a point, that all examples of the rules can settle at this spread."""
    return max(LEAST_MARGIN, _last_bound(sd, rules, configurations))


def quantiles(rules: RaceRules, configurations: int) -> list[float]:
    """Return for each look the quantile of t that its normal critical value stands for."""
    from scipy.special import ndtr, stdtrit

    times = tuple(size / rules.looks[-1] for size in rules.looks)
    alpha = rules.alpha / max(configurations - 1, 1)
    found = critical_values(times, spend(times, alpha, by_power))
    return [-float(stdtrit(size - 1, ndtr(-one))) for size, one in zip(rules.looks, found, strict=True)]


def _last_bound(sd: float, rules: RaceRules, configurations: int) -> float:
    return quantiles(rules, configurations)[-1] * sd / math.sqrt(rules.looks[-1])
