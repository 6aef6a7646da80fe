"""The texts of a sweep side by side: every trial's, the references' own, and the first and the longest turns.

`System` is one row of the panels: what it wrote for each example of the reported split, and its recorded score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from analysis.comparison.candidates import first_rows
from analysis.comparison.comparison import MOST_TEXTS, Comparison
from analysis.records.reference_rows import lead, longest
from analysis.records.scores import texts_in
from analysis.records.table import ResultRow
from trainables.data.corpus import Example
from trainables.metric_table import DEFAULT
from trainables.scoring.metrics import is_unseen, score_names

REFERENCES = "references"


@dataclass(frozen=True)
class System:
    """What one row wrote, by example; `scores` are those of `metric` as recorded."""

    name: str
    kind: str  # "reference" for what no model made
    texts: dict[str, str]
    ended: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    row: ResultRow | None = None
    template: str = ""

    @property
    def is_model(self) -> bool:
        return self.kind != "reference"


@dataclass(frozen=True)
class Outputs:
    """All that was written on the reported split, and what was left out."""

    split: str
    metric: str
    examples: tuple[Example, ...]
    systems: tuple[System, ...]
    any_script: bool  # ROUGE's tokens are none in most references: words of any script are counted
    notes: tuple[str, ...]

    def named(self, name: str) -> System | None:
        return next((one for one in self.systems if one.name == name), None)


def text_metric(found: Comparison) -> str:
    """Return the comparison's metric, or ROUGE-L where that is no score of text."""
    names = score_names(found.table.evaluation.metrics)
    if found.metric in names:
        return found.metric
    return DEFAULT if DEFAULT in names else names[0]


def collect(found: Comparison, most: int = MOST_TEXTS) -> Outputs:
    """Read the texts of the reported split: baselines and references first, then at most `most` configurations.

    Where there are more, the best by the choice are taken, and a note says so.
    """
    table, metric = found.table, text_metric(found)
    examples = found.examples.get(table.split, ())
    notes = []
    if not examples:
        notes.append(
            f"The sweep has no file of its {table.split} examples: copied turns, how the texts are made, examples to "
            "read and the check of the evaluation need it."
        )
    finished = sum(1 for row in table.of_kind("configuration") if row.summary and row.record)
    rows = first_rows(table, found.ranking, most)
    if len(rows) < finished:
        notes.append(f"Texts are shown for the {most} best of {finished} finished trials.")
    baselines = [row for row in table.of_kind("baseline") if row.summary and row.record]
    systems = [*_copies(found, examples, metric)]
    for row in (*baselines, *rows):
        system = _system(row, found, metric)
        missing = sum(example.id not in system.texts for example in examples)
        if missing:
            notes.append(f"{system.name} has no text for {missing} of the {len(examples)} {table.split} examples.")
        systems.append(system)
    unseen = sum(is_unseen(one.references) for one in examples)
    if unseen:
        notes.append(
            f"ROUGE sees no words in the references of {unseen} of {len(examples)} examples (its tokens are a to z and "
            "digits)."
        )
    any_script = unseen * 2 > len(examples)
    if any_script:
        notes.append("Fragments, lengths and the alarm are counted on words of any script instead.")
    return Outputs(table.split, metric, tuple(examples), tuple(systems), any_script, tuple(notes))


def _copies(found: Comparison, examples: Iterable[Example], metric: str) -> list[System]:
    """Return the references' own row and the rows that copy turns of the source."""
    examples = list(examples)
    if not examples:
        return []
    own = {example.id: example.references[0] for example in examples}
    systems = [System(REFERENCES, "reference", own)]
    for name, make in (("LEAD-3", lead), ("LONGEST-3", longest)):
        texts = {example.id: make(example.source) for example in examples}
        known = next((one for one in found.references if one.name == name), None)
        split = found.table.split
        rows = zip(known.ids[split], known.scores[split], strict=True) if known else ()
        scores = {identity: row[metric] for identity, row in rows if metric in row}
        systems.append(System(name, "reference", texts, scores=scores))
    return systems


def _system(row: ResultRow, found: Comparison, metric: str) -> System:
    table, scores = found.table, found.scores[found.table.split]
    texts = scores.texts.get(row.label)
    if texts is None:  # of a trial that is not among those whose texts are kept
        assert row.record is not None
        identity = row.summary.eval_id if row.summary else ""
        texts = texts_in(row.record.predictions(identity or table.eval_id, table.split))
    values = dict(zip(scores.ids, scores.values[row.label][metric].tolist(), strict=True)) if scores.has([row]) else {}
    return System(
        name=table.name_of(row),
        kind=row.kind,
        texts=texts.text,
        ended=texts.ended,
        scores={one: value for one, value in values.items() if math.isfinite(value)},
        row=row,
        template=row.train.prompt_template if row.train else "",
    )
