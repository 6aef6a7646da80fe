"""Replicates and examples at once: a mixed model with crossed random effects, by statsmodels.

It takes time that grows with the square of the rows (7 s for 1,500, 41 s for 3,000), so more rows are refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.comparison.candidates import Candidate, baseline_of
from analysis.comparison.comparison import Comparison
from analysis.findings.sentences import title_of, value_of
from analysis.statistics.multiple_testing import Array
from trainables.metric_table import LOSS

MOST_SCORES = 1_500
NORMAL = 1.959964  # two-sided 95%


@dataclass(frozen=True)
class CrossedDifference:
    """A difference between two systems with its 95% interval, and what varies: examples, runs, and the rest (SD)."""

    name: str
    against: str
    difference: float
    low: float
    high: float
    p: float
    sd_examples: float
    sd_runs: float
    sd_rest: float
    rows: int
    by_statsmodels: bool


def against_baseline(found: Comparison, one: Candidate | None = None) -> CrossedDifference | None:
    """Compare a configuration (default: the best) with its baseline by the deciding metric; None as `crossed` says."""
    one = one or found.best
    if one is None:
        return None
    baseline = baseline_of(found.table, one, found.metric)
    return crossed(found, one, baseline) if baseline else None


def crossed(found: Comparison, ours: Candidate, theirs: Candidate) -> CrossedDifference | None:
    """Fit score ~ system + (1 | example) + (1 | run) on the reported split.

    None without replicates of the first, with other tokens, or where the rows exceed 1,500.
    """
    scores = found.scores[found.table.split]
    if len(ours.rows) < 2:
        return None
    first, second = scores.runs(ours.rows, found.metric), scores.runs(theirs.rows, found.metric)
    if found.metric == LOSS:  # on the scale on which the mean over examples is the loss of the corpus
        raw, scaled = scores.mean_of_runs(ours.rows, found.metric), scores.paired(ours.rows, theirs.rows, found.metric)
        scale = float(np.nanmean(scaled[0]) / np.nanmean(np.where(np.isnan(scaled[0]), math.nan, raw)))
        first, second = first * scale, second * scale
    values = np.vstack([first, second])
    values = values[:, ~np.isnan(values).any(axis=0)]
    if not values.size or values.size > MOST_SCORES or values.shape[1] < 2:
        return None
    return fit_crossed(values, [True] * len(first) + [False] * len(second), ours.name, theirs.name)


def fit_crossed(
    values: Array, is_ours: Sequence[bool], name: str = "ours", against: str = "theirs"
) -> CrossedDifference:
    """Fit the model by REML to complete scores (runs of both systems, N); `is_ours` says whose each run is.

    Where statsmodels does not converge, as at the border where runs do not vary, the closed form of complete data
    stands in, which it equals otherwise.
    """
    ours = np.asarray(is_ours, dtype=bool)
    found = _by_statsmodels(values, ours) or _closed_form(values, ours)
    error = found.error
    return CrossedDifference(
        name=name,
        against=against,
        difference=found.difference,
        low=found.difference - NORMAL * error,
        high=found.difference + NORMAL * error,
        p=math.erfc(abs(found.difference) / error / math.sqrt(2)) if error else float(not found.difference),
        sd_examples=math.sqrt(max(found.examples, 0.0)),
        sd_runs=math.sqrt(max(found.runs, 0.0)),
        sd_rest=math.sqrt(found.rest),
        rows=values.size,
        by_statsmodels=found.by_statsmodels,
    )


@dataclass(frozen=True)
class _Fit:
    difference: float
    error: float
    examples: float  # variances
    runs: float
    rest: float
    by_statsmodels: bool


def _by_statsmodels(values: Array, ours: NDArray[np.bool_]) -> _Fit | None:
    """Return the fit, None where it does not converge."""
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    runs, n = values.shape
    unit = float(values.std()) or 1.0  # the optimizer's tolerances are for variances near one
    data = pd.DataFrame(
        {
            "score": values.ravel() / unit,
            "system": np.repeat(ours.astype(float), n),
            "run": np.repeat(np.arange(runs), n),
            "example": np.tile(np.arange(n), runs),
            "all": 1,
        }
    )
    parts = {"example": "0 + C(example)", "run": "0 + C(run)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what does not converge is answered below
        try:
            model = MixedLM.from_formula("score ~ system", groups="all", re_formula="0", vc_formula=parts, data=data)
            result = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    variances = dict(zip(model.exog_vc.names, result.vcomp, strict=True))
    error = float(result.bse["system"]) * unit
    if not result.converged or not math.isfinite(error):
        return None
    square = unit * unit
    return _Fit(
        difference=float(result.params["system"]) * unit,
        error=error,
        examples=float(variances["example"]) * square,
        runs=float(variances["run"]) * square,
        rest=float(result.scale) * square,
        by_statsmodels=True,
    )


def _closed_form(values: Array, ours: NDArray[np.bool_]) -> _Fit:
    """Return the REML fit of complete data from its mean squares; a negative variance is zero, and is pooled."""
    runs, n = values.shape
    means, sides = values.mean(axis=1), (ours, ~ours)
    rest = values - values.mean(axis=0) - means[:, None] + values.mean()
    square, degrees = float((rest**2).sum()), (runs - 1) * (n - 1)
    between, freedom = n * sum(float(((means[side] - means[side].mean()) ** 2).sum()) for side in sides), runs - 2
    across = runs * float(values.mean(axis=0).var(ddof=1)) * (n - 1)
    parts = {"runs": (between, freedom), "examples": (across, n - 1)}
    for name in ("runs", "examples", "runs"):  # what varies no more than the rest is rest
        if name in parts and parts[name][0] * degrees <= square * parts[name][1]:
            more, free = parts.pop(name)
            square, degrees = square + more, degrees + free
    residual = square / degrees
    over = {name: part / free for name, (part, free) in parts.items() if free}
    over_runs, over_examples = over.get("runs", residual), over.get("examples", residual)
    return _Fit(
        difference=float(means[ours].mean() - means[~ours].mean()),
        error=math.sqrt(over_runs / n * sum(1 / int(side.sum()) for side in sides)),
        examples=(over_examples - residual) / runs,
        runs=(over_runs - residual) / n,
        rest=residual,
        by_statsmodels=False,
    )


def sentence(found: Comparison, one: CrossedDifference | None) -> str | None:
    """Say what the mixed model gives, and how much of the noise is the seeds'; None without one."""
    if one is None:
        return None
    metric = found.metric
    low, high = (value_of(metric, value, True) for value in (one.low, one.high))
    return (
        f"A mixed model with crossed examples and runs gives {one.name} minus {one.against} {title_of(metric)} "
        f"{value_of(metric, one.difference, True)} [{low}, {high}]; "
        f"SD over examples {value_of(metric, one.sd_examples)}, over runs {value_of(metric, one.sd_runs)}, "
        f"of the rest {value_of(metric, one.sd_rest)}."
    )
