"""How the texts are made, whatever their score: copying, length, ends, repetition, echoes, claims without support.

Every measure stands beside the references' own row and those of copied turns, on the same examples: a coverage of 0.9
means little until one sees that the references have 0.7 and copied turns 1.0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.texts import claims
from analysis.texts.copied_text import SourceTokens, extractiveness, tokens_of
from analysis.texts.outputs import REFERENCES, Outputs, System
from trainables.data.corpus import Example
from trainables.errors import UserError, nearest
from trainables.metric_table import rouge_words

if TYPE_CHECKING:
    import pandas as pd

COPIED_RUN = 0.6
UNLIKE = 0.2  # share of texts by which a system must exceed the references to be said to differ
LEAST_LEFT = 0.6  # share of a gain that must be left at equal lengths, or length is said to be its cause
_UNLIKE = (
    ("unsupported_names", "name someone or something that the source does not"),
    ("unsupported_numbers", "state a number that the source does not"),
    ("copied", "are one run copied from the source, by 60% or more"),
    ("empty", "are empty"),
    ("cut_off", "are cut off at the limit of new tokens"),
    ("echo", "repeat the prompt"),
    ("first_person", "speak as I or we"),
    ("speaker_turns", "go on with turns of a dialogue"),
)


@dataclass(frozen=True)
class Measure:
    """A column of the panel: the mean of a value per text, written in `style`."""

    name: str
    title: str
    style: str  # "share" (percent), "ratio" (two decimals), "points" or "count" (one decimal)
    about: str
    is_main: bool = True  # shown on the page; the others are in the data frame


MEASURES = (
    Measure("rouge1_precision", "R-1 P", "points", "precision of ROUGE-1: share of the text that is in the reference"),
    Measure("rouge1_recall", "R-1 R", "points", "recall of ROUGE-1: share of the reference that is in the text"),
    Measure("rouge1", "R-1", "points", "ROUGE-1, stemmed F"),
    Measure("rouge1_cut", "R-1 cut", "points", "the same of the text cut to the reference's length: content alone"),
    Measure("rougeL", "R-L", "points", "ROUGE-L, stemmed F"),
    Measure("rougeL_cut", "R-L cut", "points", "the same of the text cut to the reference's length"),
    Measure("words", "words", "count", "words in a text"),
    Measure("length_ratio", "length ratio", "ratio", "words of the text over words of the reference"),
    Measure("coverage", "coverage", "ratio", "share of the text's words in fragments copied from the source"),
    Measure("density", "density", "ratio", "mean length of the fragment that a word is in: long means copied whole"),
    Measure("compression", "compression", "ratio", "words of the source over words of the text"),
    Measure("novel_1", "novel 1-grams", "share", "share of distinct words that the source lacks", False),
    Measure("novel_2", "novel 2-grams", "share", "share of distinct word pairs that the source lacks"),
    Measure("novel_3", "novel 3-grams", "share", "share of distinct word triples that the source lacks", False),
    Measure("repeated_3", "repeated 3-grams", "share", "share of distinct word triples that occur more than once"),
    Measure("copied", "copied", "share", "texts whose longest run copied from the source covers 60% of them or more"),
    Measure("empty", "empty", "share", "texts without a word"),
    Measure("cut_off", "cut off", "share", "texts that ended at the limit of new tokens"),
    Measure("echo", "echo", "share", "texts that repeat the prompt's instruction or cue"),
    Measure("unsupported_numbers", "new numbers", "share", "texts with a number that the source lacks"),
    Measure("unsupported_names", "new names", "share", "texts with a capitalized word that the source lacks"),
    Measure("sentences", "sentences", "count", "sentences in a text"),
    Measure("first_person", "I, we", "share", "texts in the first person"),
    Measure("speaker_turns", "turns", "share", "texts with a line like a turn of a dialogue ('Anna: ...')"),
)  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """Measures of every text, by system and example: None where a measure says nothing (no n-gram, no end known)."""

    outputs: Outputs
    values: dict[str, dict[str, dict[str, float | None]]]

    def mean(self, system: str, measure: str, ids: Iterable[str] | None = None) -> float | None:
        """Return the mean of a measure over the texts that have it; None where none has."""
        rows = self.values.get(system, {})  # the references have no row where their file is gone
        chosen = rows if ids is None else [identity for identity in ids if identity in rows]
        found = [value for identity in chosen if (value := rows[identity].get(measure)) is not None]
        return math.fsum(found) / len(found) if found else None


def panel(outputs: Outputs) -> Panel:
    """Measure every text of every system on the examples of the reported split."""
    any_script = outputs.any_script
    values: dict[str, dict[str, dict[str, float | None]]] = {one.name: {} for one in outputs.systems}
    for example in outputs.examples:
        source = SourceTokens(tokens_of(example.source, any_script))
        stated = claims.stated(example.source)
        references = [_rouge_words(text, any_script) for text in example.references]
        for system in outputs.systems:
            if (text := system.texts.get(example.id)) is None:
                continue
            found = texture(text, source, stated, references, any_script)
            end = system.ended.get(example.id)
            found["cut_off"] = None if end is None else float(end == "length")
            found["echo"] = float(echoes(text, system.template)) if system.template else None
            values[system.name][example.id] = found
    return Panel(outputs, values)


def texture(
    text: str,
    source: SourceTokens,
    stated: claims.Stated,
    references: Sequence[Sequence[str]],
    any_script: bool = False,
) -> dict[str, float | None]:
    """Return the measures of one text that need only itself, its source and the words of its references."""
    tokens = tokens_of(text, any_script)
    scored = _rouge_words(text, any_script)
    lengths = [len(reference) for reference in references]
    claimed = claims.claims(text, stated)
    found = extractiveness(tokens, source)
    found |= rouge(scored, references)
    found |= {
        "words": float(len(tokens)),
        "length_ratio": len(scored) * len(lengths) / sum(lengths) if sum(lengths) else None,
        "copied": float((found["longest_share"] or 0) >= COPIED_RUN),
        "empty": float(not text.strip()),
        "unsupported_numbers": float(bool(claimed.unsupported_numbers)),
        "unsupported_names": float(bool(claimed.unsupported_names)),
        "sentences": float(claims.sentences(text)),
        "first_person": float(claims.first_person(text)),
        "speaker_turns": float(claims.speaker_turns(text) > 0),
    }
    return found


def rouge(tokens: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | None]:
    """Return ROUGE-1 and ROUGE-L of `tokens`, plain and cut to each reference's length: the best over references.

    The same numbers as rouge_score's, many times as fast; precision and recall are those of the best F.
    """
    best: dict[str, float | None] = dict.fromkeys(("rouge1", "rouge1_cut", "rougeL", "rougeL_cut"), 0.0)
    best |= {"rouge1_precision": 0.0, "rouge1_recall": 0.0}
    for reference in references:
        first = _rouge1(tokens, reference), _rougel(tokens, reference)
        cut = first
        if len(tokens) > len(reference):
            short = tokens[: len(reference)]
            cut = _rouge1(short, reference), _rougel(short, reference)
        precision, recall, f = first[0]
        if f > (best["rouge1"] or 0.0):
            best |= {"rouge1": f, "rouge1_precision": precision, "rouge1_recall": recall}
        best["rouge1_cut"] = max(best["rouge1_cut"] or 0.0, cut[0][2])
        best["rougeL"] = max(best["rougeL"] or 0.0, first[1][2])
        best["rougeL_cut"] = max(best["rougeL_cut"] or 0.0, cut[1][2])
    return best


def rouge_l(text: str, references: Sequence[str], any_script: bool = False) -> float:
    """Return ROUGE-L of a text: stemmed F, the best over its references."""
    tokens = _rouge_words(text, any_script)
    return max(_rougel(tokens, _rouge_words(one, any_script))[2] for one in references)


def echoes(text: str, template: str) -> bool:
    """Return whether a text repeats a line of its prompt: the words of an instruction, or the cue as it stands."""
    body = f" {' '.join(tokens_of(text))} "
    before, _, after = template.partition("{source}")
    for line in (*before.splitlines(), *after.splitlines()):
        tokens = tokens_of(line)
        if len(tokens) > 1 and f" {' '.join(tokens)} " in body:
            return True
    cue = after.strip().lower()
    return len(cue) > 3 and cue in text.lower()


def sentences(panel: Panel, best: str, baseline: str | None = None) -> list[str]:
    """Say where the texts of `best` are unlike the references, and what is left of its gain at equal lengths."""
    said = []
    parts = []
    for name, meaning in _UNLIKE:
        own, theirs = panel.mean(best, name), panel.mean(REFERENCES, name) or 0.0
        if own is not None and own - theirs >= UNLIKE:
            parts.append(f"{100 * own:.0f}% {meaning} (references {100 * theirs:.0f}%)")
    if parts:
        said.append(f"Of the texts of {best}, {'; '.join(parts)}.")
    if baseline:
        plain, cut = (
            (panel.mean(best, name) or 0.0) - (panel.mean(baseline, name) or 0.0) for name in ("rougeL", "rougeL_cut")
        )
        if plain > 0 and cut < LEAST_LEFT * plain:
            said.append(
                f"Much of the gain of {best} over {baseline} is knowing when to stop: of {100 * plain:.2f} points of "
                f"ROUGE-L {100 * cut:.2f} are left when every text is cut to its reference's length."
            )
    return said


# --- forms -----------------------------------------------------------------------------------------------------------


def frame(found: Panel) -> pd.DataFrame:
    """Return the panel as a data frame: a row per system, a column per measure, means over the texts."""
    import pandas as pd

    rows = [
        {"system": one.name, "kind": one.kind, "texts": len(found.values[one.name])}
        | {measure.name: found.mean(one.name, measure.name) for measure in MEASURES}
        for one in found.outputs.systems
    ]
    return pd.DataFrame(rows, columns=["system", "kind", "texts", *(measure.name for measure in MEASURES)])


@dataclass(frozen=True)
class Groups:
    """Mean scores of each system by group of examples: quartiles of a number, or the values of a text."""

    by: str
    metric: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    means: dict[str, tuple[float | None, ...]]


COUNTS: dict[str, Callable[[Example, bool], float]] = {
    "source_words": lambda example, any_script: len(tokens_of(example.source, any_script)),
    "reference_words": lambda example, any_script: len(tokens_of(example.references[0], any_script)),
    "turns": lambda example, any_script: len([line for line in example.source.splitlines() if line.strip()]),
}


def by_group(outputs: Outputs, by: str = "source_words") -> Groups:
    """Return mean scores by quartile of a number (default: the length of the source), or by value of a column.

    Raises:
        UserError: no example has that column.
    """
    values: list[Any]
    if by in COUNTS:
        values = [COUNTS[by](example, outputs.any_script) for example in outputs.examples]
    else:
        columns = dict.fromkeys(name for example in outputs.examples for name, _ in example.columns)
        known = [*COUNTS, *columns]
        if by not in known:
            raise UserError(f"no example has the column {by!r}; {nearest(by, known)}")
        values = [dict(example.columns).get(by) for example in outputs.examples]
    numbers = [number for value in values if (number := _number(value)) is not None]
    groups = _quartiles(numbers) if len(numbers) == len(values) else _by_value(values)
    ids = [example.id for example in outputs.examples]
    members = {name: [ids[place] for place in places] for name, places in groups.items()}
    means = {
        one.name: tuple(_mean([one.scores[identity] for identity in chosen if identity in one.scores])
                        for chosen in members.values())
        for one in outputs.systems
        if one.scores
    }  # fmt: skip
    return Groups(by, outputs.metric, tuple(members), tuple(map(len, members.values())), means)


def _number(value: Any) -> float | None:
    """Return a value of a column as a number; a table of text (CSV) writes its numbers as text."""
    try:
        number = math.nan if isinstance(value, bool) or value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _quartiles(values: Sequence[float]) -> dict[str, list[int]]:
    """Return places by quartile, named by their range; equal values are never parted, so groups can differ in size."""
    ordered = sorted(values)
    edges = [ordered[min(len(ordered) - 1, math.ceil(len(ordered) * part / 4) - 1)] for part in (1, 2, 3, 4)]
    groups: dict[str, list[int]] = {}
    low = ordered[0]
    for edge in dict.fromkeys(edges):
        places = [place for place, value in enumerate(values) if low <= value <= edge]
        if places:
            least = min(values[place] for place in places)
            groups[f"{least:g} to {edge:g}" if least != edge else f"{edge:g}"] = places
        low = math.nextafter(edge, math.inf)
    return groups


def _by_value(values: Sequence[Any], most: int = 12) -> dict[str, list[int]]:
    """Return places by value, the most frequent first; rare ones together, and those that have none."""
    names = ["without" if value is None else str(value) for value in values]
    kept = [name for name, _ in Counter(names).most_common(most)]
    groups: dict[str, list[int]] = {name: [] for name in kept}
    for place, name in enumerate(names):
        groups.setdefault(name if name in kept else "all others", []).append(place)
    return groups


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _rouge_words(text: str, any_script: bool) -> Sequence[str]:
    return tokens_of(text, any_script=True) if any_script else rouge_words(text)


def _rouge1(tokens: Sequence[str], reference: Sequence[str]) -> tuple[float, float, float]:
    counts = Counter(reference)
    common = sum(min(count, counts[token]) for token, count in Counter(tokens).items() if token in counts)
    return _prf(common, len(tokens), len(reference))


def _rougel(tokens: Sequence[str], reference: Sequence[str]) -> tuple[float, float, float]:
    from rapidfuzz.distance import LCSseq  # 30 ms, which a table does not wait for

    return _prf(LCSseq.similarity(tokens, reference), len(tokens), len(reference))


def _prf(common: int, size: int, other: int) -> tuple[float, float, float]:
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / size, common / other
    return precision, recall, 2 * precision * recall / (precision + recall)


def models(outputs: Outputs) -> list[System]:
    """Return the systems that a model made."""
    return [one for one in outputs.systems if one.is_model]
