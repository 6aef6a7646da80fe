"""Racing: which configuration is the best within a margin, told as early as its scores on growing sets allow.

All configurations are scored on nested sets of examples (16, 32, 64, 96, ... of one order). After each look those that
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
difference is taken to vary at least as if one example had differed by the largest difference of all, or by half the
spread of the scores where that is more, since examples that are all equal say nothing of the next.

The error, `alpha`, is that of the whole race: the probability that the truly best one is ever held to be at most
`margin` better than another that it beats by more, or to be worse than another, at any look. For each other one the
error is alpha / (configurations - 1), spent over the looks as `analysis.statistics.alpha_spending` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.multiple_testing import Array
from analysis.statistics.race_rules import (
    LEAST_MARGIN,
    SIMILAR_SD,
    RaceRules,
    auto_margin,
    looks,
    quantiles,
    settles_from,
)

__all__ = [
    "LEAST_MARGIN",
    "SIMILAR_SD",
    "Look",
    "Race",
    "RaceRules",
    "Standing",
    "auto_margin",
    "looks",
    "race",
    "settles_from",
]

AUTO_EXAMPLES = 64  # a margin that is to be found is fixed at the first look with so many, from spreads alone
SHOWN_BY = 1 / 3  # whoever is going to be shown to be worse by this share of the examples goes on till then

LIKELY_DIFFERENCE = 0.5  # of two texts, where none have differed yet: as a share of the spread of all scores

Verdict = Literal["going", "separated", "equivalent", "used up"]
State = Literal["best", "worse", "equivalent", "no better", "open"]
Bounds = Callable[[Array, int], Array]  # scores so far (C, n), number of the look: how much better than i is j at most


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


def race(scores: Mapping[str, ArrayLike], rules: RaceRules, bounds: Bounds | None = None) -> Race:
    """Return how a race of these configurations stands, from their scores on the first examples of one order.

    Args:
        bounds: upper bounds (C, C) of mean j minus mean i in place of those of the t tests, valid at all looks at once.
    """
    return _Replay({name: np.asarray(one, dtype=float) for name, one in scores.items()}, rules, bounds).run()


class _Replay:
    """Goes through the looks of a race. `bound[j, i]`: how much better than i may j be, the least of all looks."""

    def __init__(self, scores: Mapping[str, Array], rules: RaceRules, bounds: Bounds | None) -> None:
        if not scores:
            raise ValueError("a race needs a configuration")
        self.names = tuple(scores)
        self.scores = [scores[name] for name in self.names]
        self.rules = rules
        self.bounds = bounds
        count = len(self.names)
        self.quantiles = quantiles(rules, count)
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
            best, still = self._look(number, size, going)
            self._note(size, best, going, still)
            if not still:
                is_alone = bool((np.delete(self.bound[:, best], best) < 0).all())
                return self._found("separated" if is_alone else "equivalent", best, [], 0)
            going = sorted([best, *still])
        return self._found("used up", best, [], 0)

    def _look(self, number: int, size: int, going: Sequence[int]) -> tuple[int, list[int]]:
        """Bring the bounds up to date; return who is the best, and who goes on against it."""
        values = np.array([self.scores[one][:size] for one in going])
        if not np.isfinite(values).all():
            raise ValueError(f"a score among the first {size} examples is no finite number")
        self.seen[going] = size
        self.largest = max(self.largest, float(np.ptp(values, axis=0).max()), LIKELY_DIFFERENCE * float(np.ptp(values)))
        means, sd = values.mean(axis=1), paired_sds(values, self.largest)
        where = np.ix_(going, going)
        if self.bounds is None:
            upper = means[:, None] - means + self.quantiles[number] * sd / math.sqrt(size)
        else:
            upper = self.bounds(values, number)
        self.bound[where] = np.minimum(self.bound[where], upper)
        np.fill_diagonal(self.bound, 0.0)
        is_last = number + 1 == len(self.rules.looks)
        # Nobody can come back after the last look: the best is then the one that is settled against the most.
        leader = int(np.argmin(self.bound[:, going].max(axis=0)) if is_last else np.argmax(means))
        best = going[leader]
        if not self.is_fixed and (size >= AUTO_EXAMPLES or is_last):
            close = [sd[leader, place] for place, one in enumerate(going) if self.bound[one, best] >= 0]
            self.margin = auto_margin(float(max(close)), self.rules, len(self.names))
            self.is_fixed = True
        still = {one for one in range(len(self.names)) if one != best and self.bound[one, best] > self.margin}
        still |= {going[place] for place in self._falling_behind(number, means[leader] - means, sd[leader])} - {best}
        return best, sorted(still)

    def _falling_behind(self, number: int, gaps: Array, sd: Array) -> list[int]:
        """Return the places of those that will be shown to be worse by the share `SHOWN_BY`, and are not yet."""
        by = sum(size <= SHOWN_BY * self.rules.looks[-1] for size in self.rules.looks) - 1
        if number >= by:
            return []
        now, then = (self.quantiles[one] * sd / math.sqrt(self.rules.looks[one]) for one in (number, by))
        return [int(place) for place in np.flatnonzero((gaps > then) & (gaps <= now))]

    def _note(self, size: int, best: int, going: Sequence[int], still: Sequence[int]) -> None:
        left = [one for one in going if one != best and one not in still]
        back = [one for one in still if one not in going]
        settled = float(np.delete(self.bound[:, best], best).max(initial=0.0))
        scored, gone, returned = (self._named(which) for which in (going, left, back))
        self.looks.append(Look(size, self.margin, self.names[best], scored, gone, returned, settled))

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
