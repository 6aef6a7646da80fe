"""What more points of a search bring, had they been drawn independently: the expected best of n."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.comparison.comparison import Comparison
from analysis.findings.searches.points import is_search, points_of
from analysis.statistics.tuning_curve import expected_best
from trainables.metric_table import LOWER_IS_BETTER

INDEPENDENT = ("random",)  # samplers whose points do not depend on the scores of others


@dataclass(frozen=True)
class ExpectedBest:
    """The expected best score of `draws` configurations drawn from those of the search, where the choice is made.

    The 95% interval is for configurations drawn anew from the same distribution; None where so many cannot tell.
    """

    draws: int
    score: float
    low: float | None
    high: float | None


def expected_best_curve(found: Comparison) -> tuple[ExpectedBest, ...]:
    """Return the unbiased expected-best-of-n curve of a search; none for a grid.

    For independent draws: where the search learned from its trials the curve shows too much for small n.
    """
    ranking = points_of(found) if is_search(found) else []
    if len(ranking) < 2:
        return ()
    sign = -1 if found.metric in LOWER_IS_BETTER else 1
    curve = expected_best([sign * one.selection for one in ranking])
    rows = []
    for n, value in enumerate(curve.best, start=1):
        ends = sorted((sign * curve.low[n - 1], sign * curve.high[n - 1])) if n <= curve.stated else (None, None)
        rows.append(ExpectedBest(n, sign * float(value), *ends))
    return tuple(rows)
