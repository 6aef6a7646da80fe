"""Scripts that ROUGE cannot read: its tokens are a to z and digits, so in others every text scores zero.

Where it sees no words in most references of the choice, chrF decides in its place, if the evaluation has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.records.table import ResultTable
from trainables.data.corpus import Example
from trainables.scoring.metrics import is_unseen, mostly_unseen

INSTEAD = "chrf"


def deciding(table: ResultTable, examples: Mapping[str, Sequence[Example]]) -> str:
    """Return the metric that decides: the sweep's own, or chrF where that is a ROUGE which sees no words."""
    has_other = INSTEAD in table.evaluation.metrics
    return INSTEAD if table.metric.startswith("rouge") and has_other and _unseen(table, examples) else table.metric


def sentence(table: ResultTable, examples: Mapping[str, Sequence[Example]], metric: str) -> str:
    """Say where ROUGE sees no words in most references, and what decides or should; empty where it sees them."""
    unseen = _unseen(table, examples)
    if not unseen:
        return ""
    what = (
        f"ROUGE sees no words in the references of {unseen} examples (its tokens are a to z and digits), so its scores "
        "say nothing here"
    )
    if not metric.startswith("rouge"):
        return f"{what}{': chrF decides in its place' if metric == INSTEAD else ''}."
    way = "by --metric chrf" if INSTEAD in table.evaluation.metrics else "after sweep eval --metrics rouge,chrf"
    return f"{what}: compare by chrF, {way}."


def _unseen(table: ResultTable, examples: Mapping[str, Sequence[Example]]) -> str:
    """Return of how many examples ROUGE sees no words, where these are most: '64 of 64 validation'; else nothing."""
    for split in dict.fromkeys((table.selection_split, table.split)):
        references = [one.references for one in examples.get(split, ())]
        if mostly_unseen(references):
            return f"{sum(map(is_unseen, references))} of {len(references)} {split}"
    return ""
