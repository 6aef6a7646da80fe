"""Sweeps whose truth is known, drawn from matrices of scores per example.

Shapes: C configurations, N examples. A sweep takes some rows of a matrix, levels their means, lowers each by the gap
that it is to have, and draws its examples with replacement: the mean over the matrix is then the truth, and what real
scores have (their spread, correlation, skew, zeros) stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.records.load import load
from analysis.statistics.multiple_testing import Array
from trainables.errors import UserError
from trainables.records.trial_states import TRAINED

# How far each configuration is below the best, in points.
KINDS: Mapping[str, Sequence[float]] = {
    "all equal": (0, 0, 0, 0, 0, 0, 0, 0),
    "one better by 0.5": (0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
    "one better by 1": (0, 1, 1, 1, 1, 1, 1, 1),
    "one better by 2": (0, 2, 2, 2, 2, 2, 2, 2),
    "one better by 5": (0, 5, 5, 5, 5, 5, 5, 5),
    "near ties, some poor": (0, 0.3, 5, 5, 5, 5, 5, 5),
    "close and graded": (0, 0.3, 0.7, 1, 1.5, 1.8, 2.2, 2.5),
    "graded": (0, 0.5, 1, 1.5, 2, 3, 5, 8),
    "near ties and graded": (0, 0.2, 0.5, 0.8, 2, 4, 6, 10),
    "many poor": (0, 0.3, 3, 5, 8, 10, 12, 15),
}
# Of scores per example in ROUGE-L: mean, SD over examples, and correlation of two configurations of one grid.
MEAN, SD, CORRELATION = 0.35, 0.18, 0.67


@dataclass(frozen=True)
class DrawnSweep:
    """Scores per example of configurations whose true means lie below the best one's by these gaps."""

    scores: dict[str, Array]
    gaps: dict[str, float]

    @property
    def best(self) -> str:
        return min(self.gaps, key=lambda name: self.gaps[name])


def calibrated(configurations: int = 16, examples: int = 4_000, seed: int = 0) -> Array:
    """Return a matrix made up by what was measured of eight systems on SAMSum: their mean, SD and correlation.

    Beta marginals under a Gaussian copula: bounded, skewed, and with paired differences whose SD is about 14.6 points.
    """
    from scipy.special import betaincinv, ndtr

    draw = np.random.default_rng(seed)
    latent = CORRELATION + 0.02  # a copula's correlation is a little more than that of its scores
    item, own = draw.normal(size=examples), draw.normal(size=(configurations, examples))
    total = MEAN * (1 - MEAN) / SD**2 - 1
    levels = ndtr(np.sqrt(latent) * item + np.sqrt(1 - latent) * own)
    return np.asarray(betaincinv(MEAN * total, (1 - MEAN) * total, levels), dtype=float)


def of_sweep(folder: Path, metric: str = "rougeL", split: str = "validation") -> Array:
    """Return the scores of the configurations of a finished sweep, as (C, N); raises UserError without two of them."""
    table = load(folder)
    rows = []
    for row in table.rows:
        if row.kind == "configuration" and row.record is not None and row.state in TRAINED:
            lines = {str(line["id"]): line for line in row.record.predictions(table.eval_id, split)}
            rows.append({name: float(line["scores"][metric]) for name, line in lines.items()})
    if len(rows) < 2:
        raise UserError(f"{folder} holds {len(rows)} finished configurations; scores of two or more are needed")
    shared = [name for name in rows[0] if all(name in one for one in rows)]
    return np.array([[one[name] for name in shared] for one in rows])


def of_turns(folder: Path, most: int = 1_200) -> Array:
    """Return ROUGE-L of ten choices of turns as the summaries of SAMSum's dialogues in this folder, as (C, N)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    records = [one for name in ("val", "test") for one in json.loads((folder / f"{name}.json").read_text("utf-8"))]
    pairs = [(one["dialogue"].replace("\r\n", "\n").split("\n"), one["summary"]) for one in records[:most]]
    return np.array(
        [
            [scorer.score(reference, " ".join(choose(turns)))["rougeL"].fmeasure for turns, reference in pairs]
            for choose in TURNS
        ]
    )


def _longest(count: int) -> Callable[[list[str]], list[str]]:
    return lambda turns: [one for one in turns if one in sorted(turns, key=len)[-count:]]


TURNS: Sequence[Callable[[list[str]], list[str]]] = (
    *(lambda turns, count=count: turns[:count] for count in (1, 2, 3, 4)),
    *(_longest(count) for count in (1, 2, 3, 4)),
    lambda turns: turns[-2:],
    lambda turns: [turns[0], turns[-1]],
)


def drawn(matrix: Array, gaps: Sequence[float], count: int, examples: int, seed: int) -> Iterator[DrawnSweep]:
    """Draw sweeps whose configurations lie below the best by `gaps` points, in random order.

    Each takes another row of the matrix, while there are enough.
    """
    draw = np.random.default_rng(seed)
    level = matrix - matrix.mean(axis=1, keepdims=True) + matrix.mean()
    size = len(gaps)
    for _ in range(count):
        rows = draw.permutation(np.resize(draw.permutation(len(matrix)), size))
        chosen = draw.integers(matrix.shape[1], size=examples)
        lowered = draw.permutation(np.asarray(gaps, dtype=float) / 100)
        scores = level[np.ix_(rows, chosen)] - lowered[:, None]
        names = [chr(ord("A") + one) for one in range(size)]
        yield DrawnSweep(dict(zip(names, scores, strict=True)), dict(zip(names, lowered.tolist(), strict=True)))
