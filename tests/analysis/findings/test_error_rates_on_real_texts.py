"""How often the report is wrong on scores of real texts, which are skewed, tied and zero as no drawn ones are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from simulated import comparison

from analysis.findings.baselines import against_baselines
from analysis.records.reference_rows import longest
from trainables.scoring.metrics import score

SAMSUM = Path(__file__).resolve().parents[4] / "shared" / "real" / "samsum" / "test.json"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAMSUM.is_file(), reason="../shared/real is absent"),
]
DIALOGUES, SYSTEMS, SWEEPS = 300, 9, 500


@pytest.fixture(scope="module")
def scores() -> tuple[np.ndarray, np.ndarray]:
    """ROUGE-L of nine pairs of random turns per dialogue, (9, 300), and of its three longest turns, (300,)."""
    draw = random.Random(3)
    records = [one for one in json.loads(SAMSUM.read_text(encoding="utf-8")) if one["dialogue"].strip()][:DIALOGUES]
    pairs, best = [], []
    for record in records:
        turns = record["dialogue"].replace("\r\n", "\n").split("\n")
        texts = [" ".join(draw.sample(turns, min(2, len(turns)))) for _ in range(SYSTEMS)]
        texts.append(longest("\n".join(turns)))
        *one, last = (score(text, [record["summary"]])["rougeL"] for text in texts)
        pairs.append(one)
        best.append(last)
    return np.array(pairs).T, np.array(best)


def drawn(scores: np.ndarray, draw: np.random.Generator, n: int) -> np.ndarray:
    """Return (9, n) scores of a sweep without any difference: on each example the nine change places."""
    picked = scores[:, draw.choice(scores.shape[1], n, replace=False)]
    return draw.permuted(picked, axis=0)


@pytest.mark.parametrize("n", [10, 50])
def test_a_null_sweep_of_real_texts_seldom_earns_a_star(scores: tuple[np.ndarray, np.ndarray], n: int) -> None:
    draw = np.random.default_rng(n)
    stars = 0
    for _ in range(SWEEPS):
        tests = against_baselines(comparison({"test": drawn(scores[0], draw, n)}), ["rougeL"])
        stars += any(one.has_star for one in tests)
    # Four standard errors above 5%: exact tests keep it whatever the scores are like, and ties make them stricter.
    assert stars / SWEEPS <= 0.05 + 4 * (0.05 * 0.95 / SWEEPS) ** 0.5
    assert stars / SWEEPS >= 0.01


def test_what_is_really_better_is_found_among_real_texts(scores: tuple[np.ndarray, np.ndarray]) -> None:
    draw = np.random.default_rng(0)
    pairs, best = scores
    found, others = 0, 0
    for _ in range(40):
        chosen = draw.choice(len(best), 128, replace=False)
        values = draw.permuted(pairs[:, chosen], axis=0)
        values[3] = best[chosen]
        tests = against_baselines(comparison({"test": values}), ["rougeL"])
        found += any(one.name == "C3" and one.verdict == "better" for one in tests)
        others += sum(one.has_star for one in tests if one.name != "C3")
    assert best.mean() - pairs.mean() > 0.02
    assert found >= 32
    assert others <= 6
