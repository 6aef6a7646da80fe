"""The plausibility alarm: scores that no working evaluation gives.

A system's texts must score better on their own references than on those of other examples, and not far below the first
three turns of the source. What fails that has read the wrong examples, lost its texts, or never read its input; no
gain over it means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.records.reference_rows import SHUFFLES, derangement
from analysis.statistics.paired import Paired, paired
from analysis.texts.behaviour import Panel, models, rouge_l
from analysis.texts.outputs import System

if TYPE_CHECKING:
    import pandas as pd

SHARE_OF_LEAD = 0.1
ENOUGH = 30  # examples from which "cannot be told from its shuffled row" is a finding and not want of examples


@dataclass(frozen=True)
class PlausibilityCheck:
    """One system against its own texts given to other examples, and against LEAD-3, by ROUGE-L."""

    name: str
    score: float
    shuffled: float
    lead: float | None
    difference: Paired | None

    @property
    def above_shuffled(self) -> bool:
        """Whether it is above its shuffled row: clearly where there are 30 examples, at all where there are fewer."""
        if self.difference is None:
            return True
        return self.difference.low > 0 if self.difference.n >= ENOUGH else self.difference.mean > 0

    @property
    def near_lead(self) -> bool:
        return self.lead is None or self.score >= SHARE_OF_LEAD * self.lead

    @property
    def is_plausible(self) -> bool:
        return self.above_shuffled and self.near_lead


def check(panel: Panel) -> list[PlausibilityCheck]:
    """Check every system that a model made; none where there are too few examples to shuffle."""
    outputs = panel.outputs
    if len(outputs.examples) < 2:
        return []
    lead = panel.mean("LEAD-3", "rougeL")
    return [_check(panel, system, lead) for system in models(outputs) if len(system.texts) > 1]


def alarm(checks: Sequence[PlausibilityCheck]) -> str:
    """Return the sentence that must come first; empty where every system is plausible."""
    wrong = [one for one in checks if not one.is_plausible]
    if not wrong:
        return ""
    reasons = []
    if lost := [one for one in wrong if not one.above_shuffled]:
        shown = _and([f"{one.name} ({_points(one.score)} against {_points(one.shuffled)})" for one in lost])
        reasons.append(
            f"{shown} {_score(lost)} no better by ROUGE-L than with {_its(lost)} texts given to other examples"
        )
    if low := [one for one in wrong if not one.near_lead]:
        shown = _and([f"{one.name} ({_points(one.score)})" for one in low])
        reasons.append(
            f"{shown} {'is' if len(low) == 1 else 'are'} below a tenth of LEAD-3 ({_points(low[0].lead or 0)})"
        )
    said = f"The evaluation is probably broken: {'; '.join(reasons)}."
    said += " A model that cannot do the task yet looks the same: read some of its texts."
    few = min((one.difference.n for one in lost if one.difference), default=ENOUGH)
    return f"{said} With {few} examples it may also be chance." if few < ENOUGH else said


def frame(checks: Sequence[PlausibilityCheck]) -> pd.DataFrame:
    """Return the checks as a data frame, a row per system."""
    import pandas as pd

    rows = [
        {
            "system": one.name,
            "rougeL": one.score,
            "shuffled": one.shuffled,
            "lead": one.lead,
            "difference": one.difference.mean if one.difference else None,
            "low": one.difference.low if one.difference else None,
            "high": one.difference.high if one.difference else None,
            "plausible": one.is_plausible,
        }
        for one in checks
    ]
    columns = ["system", "rougeL", "shuffled", "lead", "difference", "low", "high", "plausible"]
    return pd.DataFrame(rows, columns=columns)


def _check(panel: Panel, system: System, lead: float | None) -> PlausibilityCheck:
    outputs = panel.outputs
    examples = [example for example in outputs.examples if example.id in system.texts]
    own = [panel.values[system.name][example.id]["rougeL"] or 0.0 for example in examples]
    others = [0.0] * len(examples)
    for seed in range(SHUFFLES):
        for place, other in enumerate(derangement(len(examples), seed)):
            text = system.texts[examples[other].id]
            others[place] += rouge_l(text, examples[place].references, outputs.any_script) / SHUFFLES
    difference = paired([one - other for one, other in zip(own, others, strict=True)])
    return PlausibilityCheck(system.name, math.fsum(own) / len(own), math.fsum(others) / len(others), lead, difference)


def _points(value: float) -> str:
    return f"{100 * value:.2f}"


def _score(found: Sequence[PlausibilityCheck]) -> str:
    return "scores" if len(found) == 1 else "score"


def _its(found: Sequence[PlausibilityCheck]) -> str:
    return "its" if len(found) == 1 else "their"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
