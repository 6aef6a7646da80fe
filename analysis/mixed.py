"""Replicates and examples at once: a mixed model with crossed random effects, by statsmodels.

It takes time that grows with the square of the rows (7 s for 1,500, 41 s for 3,000), so more rows are refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.compare import Candidate, Comparison, baseline_of
from analysis.inference import Array
from analysis.sentences import title_of, value_of

MOST_ROWS = 1_500


@dataclass(frozen=True)
class Crossed:
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
    converged: bool


def against_baseline(found: Comparison, one: Candidate | None = None) -> Crossed | None:
    """Compare a configuration (default: the best) with its baseline by the deciding metric; None as `crossed` says."""
    one = one or found.best
    if one is None:
        return None
    baseline = baseline_of(found.table, one, found.metric)
    return crossed(found, one, baseline) if baseline else None


def crossed(found: Comparison, ours: Candidate, theirs: Candidate) -> Crossed | None:
    """Fit score ~ system + (1 | example) + (1 | run) on the reported split.

    None without replicates of the first, with other tokens, or where the rows exceed 1,500.
    """
    scores = found.scores[found.table.split]
    if len(ours.rows) < 2:
        return None
    first, second = scores.runs(ours.rows, found.metric), scores.runs(theirs.rows, found.metric)
    if found.metric == "eval_loss":  # on the scale on which the mean over examples is the loss of the corpus
        raw, scaled = scores.mean_of_runs(ours.rows, found.metric), scores.paired(ours.rows, theirs.rows, found.metric)
        scale = float(np.nanmean(scaled[0]) / np.nanmean(np.where(np.isnan(scaled[0]), math.nan, raw)))
        first, second = first * scale, second * scale
    values = np.vstack([first, second])
    values = values[:, ~np.isnan(values).any(axis=0)]
    if not values.size or values.size > MOST_ROWS or values.shape[1] < 2:
        return None
    return fit(values, [True] * len(first) + [False] * len(second), ours.name, theirs.name)


def fit(values: Array, is_ours: Sequence[bool], name: str = "ours", against: str = "theirs") -> Crossed:
    """Fit the model to complete scores (runs of both systems, N); `is_ours` says whose each run is."""
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    runs, n = values.shape
    data = pd.DataFrame(
        {
            "score": values.ravel(),
            "system": np.repeat(np.asarray(is_ours, dtype=float), n),
            "run": np.repeat(np.arange(runs), n),
            "example": np.tile(np.arange(n), runs),
            "all": 1,
        }
    )
    parts = {"example": "0 + C(example)", "run": "0 + C(run)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of zero is at the border, which is an answer
        model = MixedLM.from_formula("score ~ system", groups="all", re_formula="0", vc_formula=parts, data=data)
        result = model.fit(reml=True)
    estimate, error = float(result.params["system"]), float(result.bse["system"])
    variances = dict(zip(model.exog_vc.names, result.vcomp, strict=True))
    return Crossed(
        name=name,
        against=against,
        difference=estimate,
        low=estimate - 1.959964 * error,
        high=estimate + 1.959964 * error,
        p=float(result.pvalues["system"]),
        sd_examples=math.sqrt(max(variances["example"], 0.0)),
        sd_runs=math.sqrt(max(variances["run"], 0.0)),
        sd_rest=math.sqrt(float(result.scale)),
        rows=values.size,
        converged=bool(result.converged),
    )


def sentence(found: Comparison, one: Crossed | None) -> str | None:
    """Say what the mixed model gives, and how much of the noise is the seeds'; None without one."""
    if one is None:
        return None
    metric = found.metric
    low, high = (value_of(metric, value, True) for value in (one.low, one.high))
    fitted = "" if one.converged else " (the fit did not converge: do not rely on it)"
    return (
        f"A mixed model with crossed examples and runs gives {one.name} minus {one.against} {title_of(metric)} "
        f"{value_of(metric, one.difference, True)} [{low}, {high}]; "
        f"SD over examples {value_of(metric, one.sd_examples)}, over runs {value_of(metric, one.sd_runs)}, "
        f"of the rest {value_of(metric, one.sd_rest)}{fitted}."
    )
