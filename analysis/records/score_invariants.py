"""What holds of every true evaluation: stored scores that break it stop a report, which would be wrong.

A text that equals its reference scores 1 and an empty one 0, every score lies within 0 and 1, a longest common
subsequence has no more words than the texts share, each example of the evaluation is scored once, and the stored means
are those of the stored scores. (ROUGE-2 may be above ROUGE-1: "a b a" against "b a b" has 1 and 2/3.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainables.errors import UserError
from trainables.metric_table import UNSTEMMED, names_of

ROUNDING = 1e-9
MEAN_ROUNDING = 1e-6
# Without precision and recall, which are on the reference with the highest F.
WHOLE = ("rouge1", "rougeL", "rougeLsum")
REMEDY = "no report is made of them: remove this evaluation of it, and evaluate again"


def check(
    label: str,
    lines: Sequence[Mapping[str, Any]],
    references: Mapping[str, Sequence[str]],
    means: Mapping[str, Any],
    metrics: Sequence[str],
) -> None:
    """Raise UserError where the stored predictions of a trial on a split cannot be those of an evaluation.

    Args:
        references: those of each example that the evaluation has; none where they cannot be read.
        means: the summary of the split.
    """
    names = names_of(metrics)
    seen: set[str] = set()
    for line in lines:
        identity = str(line["id"])
        if identity in seen:
            raise _wrong(label, identity, "is scored twice")
        seen.add(identity)
        if references and identity not in references:
            raise _wrong(label, identity, "is none of this evaluation's")
        scores = {name: float(value) for name in names if (value := line["scores"][name]) is not None}
        if problem := _problem(line.get("text"), references.get(identity, ()), scores):
            raise _wrong(label, identity, problem)
    if means.get("examples") == len(lines):
        _check_means(label, lines, means, names)


def _problem(text: str | None, references: Sequence[str], scores: Mapping[str, float]) -> str:
    """Say what cannot be of the scores of one text; a score that is not a number is none."""
    for name, value in scores.items():
        if math.isfinite(value) and not -ROUNDING <= value <= 1 + ROUNDING:
            return f"has {name} {value:.4g}, outside 0 to 1"
        if text == "" and value > ROUNDING:
            return f"has {name} {value:.4g} for an empty text"
    for ending in ("", UNSTEMMED):
        words = scores.get(f"rouge1{ending}", math.nan)
        for name in (f"rougeL{ending}", f"rougeLsum{ending}"):
            if scores.get(name, math.nan) > words + ROUNDING:
                return f"has {name} {scores[name]:.4g} above rouge1{ending} {words:.4g}"
    if text is not None and text in references:
        for name in _perfect(text):
            if scores.get(name, 1.0) < 1 - MEAN_ROUNDING:
                return f"has {name} {scores[name]:.4g} for a text that equals its reference"
    return ""


def _perfect(text: str) -> tuple[str, ...]:
    """Return the scores that are 1 where a text equals its reference: ROUGE's where it sees any word."""
    if not text.strip():
        return ()
    rouge = (*WHOLE, *(name + UNSTEMMED for name in WHOLE)) if re.search("[a-z0-9]", text.lower()) else ()
    return (*rouge, "chrf", "bleu")


def _check_means(
    label: str, lines: Sequence[Mapping[str, Any]], means: Mapping[str, Any], names: Sequence[str]
) -> None:
    for name in names:
        values = [line["scores"][name] for line in lines]
        stored = means.get(name)
        if not lines or stored is None or not all(value is not None and math.isfinite(value) for value in values):
            continue
        mean = math.fsum(values) / len(values)
        if abs(mean - stored) > MEAN_ROUNDING:
            raise UserError(
                f"{label}: the mean {name} of its stored scores is {mean:.4f}, and its summary says {stored:.4f}; "
                f"{REMEDY}"
            )


def _wrong(label: str, identity: str, problem: str) -> UserError:
    return UserError(f"{label}: example {identity!r} {problem}, which no true scores have; {REMEDY}")
