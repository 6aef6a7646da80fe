"""The expected best of n points of a search: its ends, its direction, its interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.compare import compare
from analysis.findings.searches.draws import expected_best_curve


def test_it_goes_from_the_mean_to_the_best(searched: Path) -> None:
    found = compare(searched)
    curve = expected_best_curve(found)
    values = sorted(one.selection for one in found.ranking)
    assert curve[0].score == pytest.approx(np.mean(values))
    assert curve[-1].score == pytest.approx(values[-1])
    assert [one.draws for one in curve] == list(range(1, 13))
    assert [one.low is not None for one in curve] == [True] * 3 + [False] * 9
    by_loss = expected_best_curve(compare(searched, "eval_loss"))
    assert by_loss[0].score > by_loss[-1].score
    assert by_loss[0].low is not None
    assert by_loss[0].high is not None
    assert by_loss[0].low < by_loss[0].score < by_loss[0].high
