"""Comparisons of sweeps whose scores per example are drawn, for thousands of sweeps without a disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.comparison.candidates import candidates, rank
from analysis.comparison.comparison import Comparison
from analysis.records.scores import Scores
from analysis.records.table import ResultRow, ResultTable
from trainables.config import EvalConfig, TrainConfig
from trainables.records.evaluation_summary import EvaluationSummary

Array = NDArray[np.float64]
METRIC = "rougeL"


def comparison(splits: Mapping[str, Array], seeds: int = 1) -> Comparison:
    """Return the comparison of a sweep; `splits` holds (1 + configurations * seeds, N) scores, the baseline's first."""
    sizes = {split: values.shape[1] for split, values in splits.items()}
    evaluation = EvalConfig(validation_examples=sizes.get("validation", 0), test_examples=sizes.get("test", 0))
    count = len(next(iter(splits.values())))
    rows = [_row(index, splits, seeds) for index in range(count)]
    table = ResultTable(
        folder=Path("nowhere"),
        experiment="drawn",
        model="drawn",
        data="drawn",
        banner=None,
        metric=METRIC,
        eval_id="00000000",
        is_default=True,
        evaluation=evaluation,
        axes=("lora_rank", *(("seed",) if seeds > 1 else ())),
        rows=tuple(rows),
    )
    ranking = rank(candidates(table.of_kind("configuration"), table.selection_split, METRIC), METRIC)
    found = Comparison(table, METRIC, (), tuple(ranking), ())
    found.__dict__["scores"] = {split: _scores(split, values, rows) for split, values in splits.items()}
    return found


def _row(index: int, splits: Mapping[str, Array], seeds: int) -> ResultRow:
    fields: dict = {"model": "drawn", "data": "drawn"}
    number, seed = divmod(index - 1, seeds)
    train = TrainConfig(**fields, max_steps=0) if not index else TrainConfig(**fields, lora_rank=number + 1, seed=seed)
    name, kind = ("zero-shot v1", "baseline") if not index else (f"C{number + 1}", "configuration")
    means = {split: {METRIC: float(values[index].mean())} for split, values in splits.items()}
    summary = EvaluationSummary(signature="drawn", splits=means)
    return ResultRow(name, f"{name}-s{seed}", kind, "done", None, train, {}, None, summary)


def _scores(split: str, values: Array, rows: list[ResultRow]) -> Scores:
    ids = tuple(f"{split}-{index}" for index in range(values.shape[1]))
    by_label = {row.label: {METRIC: one} for row, one in zip(rows, values, strict=True)}
    tokens = {row.label: np.ones(len(ids)) for row in rows}
    return Scores(split, ids, (METRIC, "eval_loss"), by_label, tokens, (), ())


def systems(
    draw: np.random.Generator, count: int, n: int, effects: float | Array = 0.0, sd: float = 0.18, alike: float = 0.67
) -> Array:
    """Draw (count, n) scores of systems that share the examples' difficulty: SD 18 points, correlation .67."""
    shared = draw.normal(size=n) * np.sqrt(alike)
    own = draw.normal(size=(count, n)) * np.sqrt(1 - alike)
    return np.asarray(0.4 + sd * (shared + own) + np.broadcast_to(effects, (count,))[:, None])
