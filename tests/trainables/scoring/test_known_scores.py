"""Scores of texts are those that rouge_score and sacrebleu have given."""

from __future__ import annotations

from typing import Any

import pytest
from known_answers import known_answers

from trainables.scoring.metrics import score


@pytest.mark.parametrize("answer", known_answers("scores")["answers"], ids=lambda answer: answer["text"][:20])
def test_a_text_has_the_scores_of_the_libraries(answer: dict[str, Any]) -> None:
    found = score(answer["text"], answer["references"], ("rouge", "chrf", "bleu"))
    assert found == pytest.approx(answer["scores"], abs=1e-9)
