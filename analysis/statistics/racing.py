"""Racing: which configuration is the best within a margin, told as early as its scores on growing sets allow.

All configurations are scored on nested sets of examples (16, 32, 64, ... of one order). After each look those that
can no longer be better than the leader by more than the margin leave, and the race ends when nobody else is left.

How it is used::

    rules = RaceRules(looks(16, most), margin=None)     # None: auto; else 0.01 for a point of a score from 0 to 1
    found = race(scores, rules)                         # {name: scores of the examples so far, in their order}
    while found.verdict == "going":                     # evaluate found.going on found.next_examples, then again
        found = race(scores, rules)

`race` is a pure function of the scores: it replays all looks from the first, and of each configuration it reads only
the examples that the race had asked for. So nothing needs to be kept, a race that was killed continues as if it had
not been, and longer evaluations that happen to be there change nothing. `Race.as_json` is for records and reports.
More configurations make another family, so they make another race: give it all scores, and it asks for what it lacks.

Higher scores are better; give losses with their sign turned. Scores may be bounded or not: the bounds are those of t
tests, which hold for means of differences with a variance, in small samples as far as these are not very skewed. A
difference is taken to vary at least as if one example had differed by the largest difference of all, since examples
that are all equal say nothing of the next.

The error, `alpha`, is that of the whole race: the probability that the truly best one is ever held to be at most
`margin` better than another that it beats by more, or to be worse than another, at any look. For each other one the
error is alpha / (configurations - 1), spent over the looks as `analysis.statistics.alpha_spending` says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.alpha_spending import by_power, critical_values, spend
from analysis.statistics.multiple_testing import ALPHA, Array

LEAST_MARGIN = 0.01  # one point of a score; for a loss 0.01, which is 1% of perplexity
AUTO_EXAMPLES = 64  # a margin that is to be found is fixed at the first look with so many, from spreads alone
SIMILAR_SD = (0.14, 0.19)  # paired differences of similar configurations in ROUGE-L have such an SD

Verdict = Literal["going", "separated", "equivalent", "used up"]
State = Literal["best", "worse", "equivalent", "no better", "open"]


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


@dataclass(frozen=True)
class Standing:
    """Where a configuration stands against the best one, by the examples that both were scored on.

    `difference` is the best one's mean minus its own on `examples`, `at_most` the upper bound of how much better than
    the best it may be in truth. "worse": it is not as good; "equivalent": within the margin on both sides (two
    one-sided tests); "no better": not better by more than the margin, how much worse is left open; "open": it goes on.
    """

    name: str
    state: State
    examples: int
    difference: float
    at_most: float


@dataclass(frozen=True)
class Look:
    """One look at `examples` of each of the `scored`: who led, within which margin, who left and who came back.

    `settled` is the margin within which this look would have settled the choice: how much better than the best any
    other may be. One that left comes back when another leader, whom it was not settled against, has taken over.
    """

    examples: int
    margin: float
    best: str
    scored: tuple[str, ...]
    left: tuple[str, ...]
    back: tuple[str, ...]
    settled: float


@dataclass(frozen=True)
class Race:
    """A race as far as it has come; `going` are to be scored on `next_examples`, 0 when it has ended.

    "separated": the best is better than all others. "equivalent": it is within `margin` of the best there is, no other
    is better by more. "used up": neither, on all examples.
    """

    verdict: Verdict
    best: str | None
    margin: float | None
    looks: tuple[Look, ...]
    standings: tuple[Standing, ...]
    going: tuple[str, ...]
    next_examples: int

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON has."""
        found: dict[str, Any] = asdict(self)
        return found


def looks(start: int, most: int) -> tuple[int, ...]:
    """Return sizes that double from `start` up to all examples; the last step is not below a half of the one before."""
    found, size = [], start
    while 3 * size <= 2 * most:
        found.append(size)
        size *= 2
    return (*found, most)


def settles_from(examples: int, sd: float, configurations: int, alpha: float = ALPHA, start: int = 16) -> float:
    """Return the margin within which so many examples settle a choice of so many configurations, for `plan`.

    Args:
        sd: of paired differences of similar configurations, `SIMILAR_SD` where nothing better is known.
    """
    rules = RaceRules(looks(min(start, examples), examples), alpha=alpha)
    return _quantiles(rules, configurations)[-1] * sd / math.sqrt(examples)


def auto_margin(sd: float, rules: RaceRules, configurations: int) -> float:
    """Return the smallest margin, at least a point, that all examples of the rules can settle at this spread."""
    return max(LEAST_MARGIN, _quantiles(rules, configurations)[-1] * sd / math.sqrt(rules.looks[-1]))


def race(scores: Mapping[str, ArrayLike], rules: RaceRules) -> Race:
    """Return how a race of these configurations stands, from their scores on the first examples of one order."""
    return _Replay({name: np.asarray(one, dtype=float) for name, one in scores.items()}, rules).run()


def _quantiles(rules: RaceRules, configurations: int) -> list[float]:
    """Return for each look the quantile of t that its normal critical value stands for."""
    from scipy.special import ndtr, stdtrit

    times = tuple(size / rules.looks[-1] for size in rules.looks)
    alpha = rules.alpha / max(configurations - 1, 1)
    found = critical_values(times, spend(times, alpha, by_power))
    return [-float(stdtrit(size - 1, ndtr(-one))) for size, one in zip(rules.looks, found, strict=True)]


class _Replay:
    """Goes through the looks of a race. `bound[j, i]`: how much better than i may j be, the least of all looks."""

    def __init__(self, scores: Mapping[str, Array], rules: RaceRules) -> None:
        if not scores:
            raise ValueError("a race needs a configuration")
        self.names = tuple(scores)
        self.scores = [scores[name] for name in self.names]
        self.rules = rules
        count = len(self.names)
        self.quantiles = _quantiles(rules, count)
        self.bound = np.full((count, count), np.inf)
        self.seen = np.zeros(count, dtype=int)
        self.margin = LEAST_MARGIN if rules.margin is None else rules.margin
        self.is_fixed = rules.margin is not None
        self.largest = 0.0  # difference between two on one example
        self.looks: list[Look] = []

    def run(self) -> Race:
        going = list(range(len(self.names)))
        best: int | None = None
        for number, size in enumerate(self.rules.looks):
            if any(len(self.scores[one]) < size for one in going):
                return self._found("going", best, going, size)
            best, still, settled = self._look(number, size, going)
            gone = [one for one in going if one != best and one not in still]
            back = [one for one in still if one not in going]
            scored, left, returned = (self._named(which) for which in (going, gone, back))
            self.looks.append(Look(size, self.margin, self.names[best], scored, left, returned, settled))
            if not still:
                others = np.delete(self.bound[:, best], best)
                return self._found("separated" if (others < 0).all() else "equivalent", best, [], 0)
            going = sorted([best, *still])
        return self._found("used up", best, [], 0)

    def _look(self, number: int, size: int, going: Sequence[int]) -> tuple[int, list[int], float]:
        """Bring the bounds up to date; return the leader, who is open against it and the margin that is settled."""
        values = np.array([self.scores[one][:size] for one in going])
        if not np.isfinite(values).all():
            raise ValueError(f"a score among the first {size} examples is no finite number")
        self.seen[going] = size
        self.largest = max(self.largest, float(np.ptp(values, axis=0).max()))
        means, sd = values.mean(axis=1), paired_sds(values, self.largest)
        upper = means[:, None] - means + self.quantiles[number] * sd / math.sqrt(size)
        where = np.ix_(going, going)
        self.bound[where] = np.minimum(self.bound[where], upper)
        np.fill_diagonal(self.bound, 0.0)
        leader = int(np.argmax(means))
        best = going[leader]
        if not self.is_fixed and (size >= AUTO_EXAMPLES or number == len(self.rules.looks) - 1):
            self._fix(sd, leader, [self.bound[one, best] >= 0 for one in going])
        rival = self.bound[:, best]
        still = [one for one in range(len(self.names)) if one != best and rival[one] > self.margin]
        return best, still, float(np.delete(rival, best).max(initial=0.0))

    def _fix(self, sd: Array, leader: int, close: Sequence[bool]) -> None:
        """Fix the margin from the spread of those that may still be the best: no mean is looked at for its size."""
        spreads = [sd[leader, one] for one, is_close in enumerate(close) if is_close and one != leader]
        self.margin = auto_margin(float(max(spreads, default=0.0)), self.rules, len(self.names))
        self.is_fixed = True

    def _found(self, verdict: Verdict, best: int | None, going: Sequence[int], size: int) -> Race:
        seen, named = tuple(self.looks), self._named(going)
        if best is None:
            return Race(verdict, None, None, seen, (), named, size)
        standings = tuple(self._standing(one, best) for one in range(len(self.names)))
        return Race(verdict, self.names[best], self.margin, seen, standings, named, size)

    def _standing(self, one: int, best: int) -> Standing:
        shared = int(min(self.seen[one], self.seen[best]))
        difference = float(self.scores[best][:shared].mean() - self.scores[one][:shared].mean())
        above, below = self.bound[one, best], self.bound[best, one]
        if one == best:
            state: State = "best"
        elif above < 0:
            state = "worse"
        elif above > self.margin:
            state = "open"
        else:
            state = "equivalent" if below <= self.margin else "no better"
        return Standing(self.names[one], state, int(self.seen[one]), difference, float(above))

    def _named(self, which: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.names[one] for one in which)


def paired_sds(values: Array, largest: float = 0.0) -> Array:
    """Return the standard deviation of the differences between each two of (C, N), as (C, C).

    It is at least what one example that differs by `largest` would give.
    """
    count = values.shape[1]
    centred = values - values.mean(axis=1, keepdims=True)
    product = centred @ centred.T
    squares = np.diag(product)
    variance = np.maximum(squares[:, None] + squares - 2 * product, 0.0) / (count - 1)
    found = np.sqrt(np.maximum(variance, largest**2 / count))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found, dtype=float)
