"""Examples to read: best, median, worst, the largest gains and losses, failures by kind; what is copied is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.comparison.candidates import baseline_of
from analysis.comparison.comparison import Comparison
from analysis.texts import claims
from analysis.texts.behaviour import Panel
from analysis.texts.copied_text import SourceTokens, fragments, spans_of, tokens_of
from analysis.texts.outputs import System
from trainables.data.corpus import Example

SHOWN_PER_GROUP = 3
COPIED_WORDS = 2  # fragments shorter than this are not marked: one word is seldom copied
LONG_LOOP = 0.2


@dataclass(frozen=True)
class Piece:
    """A part of a text: "copied" from the source, "unsupported" by it, or "" for neither."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class ShownExample:
    """One example as shown: what each system wrote, its marks and its score."""

    title: str
    example: Example
    reference: str
    texts: tuple[tuple[str, tuple[Piece, ...], float | None], ...]  # (system, marked text, score)


@dataclass(frozen=True)
class Failure:
    """A kind of failure of one system: how many texts have it, and some of them."""

    kind: str
    about: str
    count: int
    of: int
    shown: tuple[ShownExample, ...]


def pair(found: Comparison, panel: Panel) -> tuple[System, System | None] | None:
    """Return the best configuration's trial and its zero-shot baseline; None without a finished best."""
    trial = found.best_trial
    if found.best is None or trial is None:
        return None
    system = panel.outputs.named(found.table.name_of(trial))
    if system is None:
        return None
    baseline = baseline_of(found.table, found.best, found.metric)
    return system, panel.outputs.named(found.table.name_of(baseline.row)) if baseline else None


def to_read(
    panel: Panel, best: System, baseline: System | None, count: int = SHOWN_PER_GROUP
) -> list[tuple[str, list[ShownExample]]]:
    """Return groups of examples: best, median and worst by score, the largest gains and losses over the baseline.

    An example is shown once, in the first group that it belongs to.
    """
    examples = {one.id: one for one in panel.outputs.examples if one.id in best.scores}
    order = sorted(examples, key=lambda identity: -best.scores[identity])
    middle = max(0, len(order) // 2 - count // 2)
    groups = [("Best", order[:count]), ("Worst", order[::-1][:count]), ("Median", order[middle : middle + count])]
    if baseline:
        gains = {one: best.scores[one] - baseline.scores[one] for one in order if one in baseline.scores}
        ranked = sorted(gains, key=lambda identity: -gains[identity])
        against = f"over {baseline.name}"
        groups.append((f"Largest gains {against}", [one for one in ranked if gains[one] > 0][:count]))
        groups.append((f"Largest losses {against}", [one for one in ranked[::-1] if gains[one] < 0][:count]))
    seen: set[str] = set()
    found = []
    for title, chosen in groups:
        new = [one for one in chosen if one not in seen]
        seen.update(new)
        if new:
            found.append((title, [show_example(panel, title, examples[one], best, baseline) for one in new]))
    return found


def failures(panel: Panel, best: System, baseline: System | None = None, count: int = 2) -> list[Failure]:
    """Return the kinds of failure that the texts of `best` show, the most frequent first."""
    values = panel.values[best.name]
    examples = {one.id: one for one in panel.outputs.examples}
    found = []
    for kind, about, has in _KINDS:
        hit = [identity for identity in values if has(values[identity], best.ended.get(identity, ""))]
        if hit:
            shown = tuple(show_example(panel, kind, examples[one], best, baseline) for one in hit[:count])
            found.append(Failure(kind, about, len(hit), len(values), shown))
    return sorted(found, key=lambda one: -one.count)


def show_example(panel: Panel, title: str, example: Example, best: System, baseline: System | None) -> ShownExample:
    """Return an example with the marked texts of the best configuration and its baseline."""
    any_script = panel.outputs.any_script
    texts = tuple(
        (one.name, marked(one.texts[example.id], example.source, any_script), one.scores.get(example.id))
        for one in (best, baseline)
        if one and example.id in one.texts
    )
    return ShownExample(title, example, example.references[0], texts)


def marked(text: str, source: str, any_script: bool = False) -> tuple[Piece, ...]:
    """Return a text in pieces: copied fragments of two words or more, and names and numbers that are not stated."""
    tokens, spans = tokens_of(text, any_script), spans_of(text, any_script)
    kinds = [""] * len(text)
    if len(tokens) == len(spans):
        for one in fragments(tokens, SourceTokens(tokens_of(source, any_script))):
            if one.length >= COPIED_WORDS:
                start, end = spans[one.start][0], spans[one.start + one.length - 1][1]
                kinds[start:end] = ["copied"] * (end - start)
    claimed = claims.claims(text, claims.stated(source))
    for start, end in (*claimed.unsupported_numbers, *claimed.unsupported_names):
        kinds[start:end] = ["unsupported"] * (end - start)
    pieces: list[Piece] = []
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or kinds[place] != kinds[start]:
            pieces.append(Piece(text[start:place], kinds[start]))
            start = place
    return tuple(pieces)


_Values = dict[str, float | None]


def _at_least(name: str, least: float) -> Callable[[_Values, str], bool]:
    return lambda values, ended: (values.get(name) or 0.0) >= least


_KINDS: Sequence[tuple[str, str, Callable[[_Values, str], bool]]] = (
    ("failed", "no text could be generated", lambda values, ended: ended == "error"),
    ("empty", "the text has no word", lambda values, ended: bool(values["empty"]) and ended != "error"),
    ("cut off", "the text ended at the limit of new tokens", _at_least("cut_off", 1)),
    ("prompt echoed", "the text repeats the instruction or the cue", _at_least("echo", 1)),
    ("loops", "a fifth of its word triples or more occur again", _at_least("repeated_3", LONG_LOOP)),
    ("copied", "one run copied from the source covers 60% of the text or more", _at_least("copied", 1)),
    ("new names", "it has a capitalized word that the source lacks", _at_least("unsupported_names", 1)),
    ("new numbers", "it has a number that the source lacks", _at_least("unsupported_numbers", 1)),
    ("goes on talking", "it has a line like a turn of a dialogue", _at_least("speaker_turns", 1)),
)
