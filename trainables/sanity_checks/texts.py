"""What the pairs of source and summary look like: swapped, equal, constant, cut, full of debris (no torch)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trainables.data.corpus import Example
from trainables.sanity_checks.near_duplicates import WORD
from trainables.sanity_checks.wording import excerpt, where

LOOKED_AT = 2_000  # examples of a split, spread over it evenly; a share of 5% is then known to 1%
Splits = Mapping[str, Sequence[Example]]

_DEBRIS = re.compile(
    r"&(?:[a-zA-Z]{2,8}|#\d{1,6});|(?<!\w)#\d{2,4};|</?(?:p|br|div|span|a|b|i|li|ul|td|tr|h\d)\b[^<>]*>"
)
_MOJIBAKE = re.compile("\ufffd|\u00c3[\u0080-\u00bf]|\u00e2\u20ac|\u00c2[\u00a0-\u00bf]")  # UTF-8 read as Windows-1252
_LABEL = re.compile(r"(?:summary|abstract|tl;?dr|answer|output|response|zusammenfassung|r[eé]sum[eé])\s*:", re.I)
_TASK = re.compile(r"(?:please\s+)?(?:summari[sz]e|write a (?:short )?summary)\b", re.I)
_NOTHING = {"none", "null", "nan", "n/a", "na", "-", "--", "?", "tbd", "todo", "empty", "[]", "{}", "no summary"}
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")


def spread(examples: Sequence[Example], count: int = LOOKED_AT) -> Sequence[Example]:
    """Return at most `count` examples, evenly from the whole split."""
    return examples if len(examples) <= count else [examples[i * len(examples) // count] for i in range(count)]


def find(splits: Splits, report: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every mistake that the texts of a corpus look like; `report` is that of its loading."""
    looked = {split: spread(examples) for split, examples in splits.items() if examples}
    sentences = [check(looked) for check in CHECKS]
    return [one for one in (_empty_targets(report, looked), *sentences, _ids(splits)) if one]


# --- pair by pair ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairCheck:
    """A mistake that shows in single pairs: named where it holds in `share` of a split or more."""

    holds: Callable[[str, str], bool]  # of source and reference
    share: float
    sentence: str  # with {where} for the counts, and {source} and {target} of the first pair

    def __call__(self, splits: Splits) -> str | None:
        found: dict[str, tuple[int, int]] = {}
        first: Example | None = None
        for split, examples in splits.items():
            held = [example for example in examples if self.holds(example.source, example.references[0])]
            if held and len(held) >= self.share * len(examples):
                found[split], first = (len(held), len(examples)), first or held[0]
        if first is None:
            return None
        shown = {"source": excerpt(first.source), "target": excerpt(first.references[0])}
        return self.sentence.format(where=where(found), **shown)


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _same(source: str, target: str) -> bool:
    return abs(len(source) - len(target)) <= 0.2 * len(source) and _flat(source) == _flat(target)


def _inside(source: str, target: str) -> bool:
    return 20 <= len(target) < len(source) and not _same(source, target) and _flat(target) in _flat(source)


def _has(pattern: re.Pattern[str]) -> Callable[[str, str], bool]:
    return lambda source, target: bool(pattern.search(source) or pattern.search(target))


PAIRS = (
    PairCheck(
        _same,
        0.1,
        "source and summary are the same text in {where}, as in {source}: the model would learn to copy; "
        "look at --fields source=...,target=...",
    ),
    PairCheck(
        _inside,
        0.1,
        "the summary stands word for word inside the source in {where}, as in {target}: the answer is in the prompt, "
        "and scores say little; take it out of the source",
    ),
    PairCheck(
        _has(_DEBRIS),
        0.05,
        "HTML is left in {where} (such as &amp;, #39; or <br>), first in {source}: the model would learn to write it; "
        "clean the texts",
    ),
    PairCheck(
        _has(_MOJIBAKE),
        0.02,
        "wrongly decoded characters stand in {where} (UTF-8 read as Windows-1252, as in \u00c2\u00a3, or lost), first "
        "in {source}: read the files again with the right encoding",
    ),
    PairCheck(
        lambda source, target: bool(_LABEL.match(target)),
        0.2,
        "the summary begins with a label in {where}, as in {target}: the prompt's cue says it already, and the model "
        "would write it twice; take the label out",
    ),
    PairCheck(
        lambda source, target: bool(_TASK.match(source)),
        0.2,
        "the source begins with an instruction in {where}, as in {source}: the prompt gives one of its own; take it "
        "out of the source",
    ),
    PairCheck(
        lambda source, target: not any(character.isalpha() for character in source),
        0.5,
        "the source has no letter in {where}, as in {source}: it looks like a number or an id; look at "
        "--fields source=...",
    ),
)  # fmt: skip


# --- over all pairs of a split -----------------------------------------------------------------------------------


def _swapped(splits: Splits) -> str | None:
    """Targets longer than their sources: nearly all of them, or most and made of the source's own words."""
    found: dict[str, tuple[int, int]] = {}
    for split, examples in splits.items():
        longer = [one for one in examples if len(one.references[0]) > len(one.source)]
        if 2 * len(longer) <= len(examples):
            continue
        shared = sum(_shared(one) for one in longer) / len(longer)
        if 10 * len(longer) >= 9 * len(examples) or shared >= 0.5:
            found[split] = (len(longer), len(examples))
    if not found:
        return None
    return (
        f"the summary is longer than its source in {where(found)}: source and target look swapped; "
        "--fields source=...,target=... says which is which"
    )


def _shared(example: Example) -> float:
    """Return the share of the source's words that the reference has too."""
    source = set(WORD.findall(example.source.casefold()))
    return len(source & set(WORD.findall(example.references[0].casefold()))) / max(1, len(source))


def _constant(splits: Splits) -> str | None:
    for split, examples in splits.items():
        (text, count), *_ = Counter(_flat(one.references[0]) for one in examples).most_common(1)
        if len(examples) >= 4 and 2 * count > len(examples):
            return (
                f"one and the same summary, {excerpt(text)}, stands in {count:,} of {len(examples):,} {split} examples:"
                " a model that always writes it would score well; look at --fields target=..."
            )
    return None


def _labels(splits: Splits) -> str | None:
    for split, examples in splits.items():
        distinct = Counter(_flat(one.references[0]) for one in examples)
        (_, most), *_ = distinct.most_common(1)
        if len(examples) >= 40 and 20 * len(distinct) <= len(examples) and 2 * most <= len(examples):
            some = ", ".join(excerpt(text) for text, _ in distinct.most_common(3))
            return (
                f"the {len(examples):,} {split} examples have only {len(distinct)} different summaries ({some}, ...): "
                "they look like labels, which ROUGE cannot judge; look at --fields target=..."
            )
    return None


def _without_end(splits: Splits) -> str | None:
    """Sentences that stop without a mark in most rows. Titles have none either, but most of their words are capital."""
    found: dict[str, tuple[int, int]] = {}
    last = ""
    for split, examples in splits.items():
        texts = [one.references[0] for one in examples]
        open_ = [text for text in texts if text[-1].isalnum() and len(WORD.findall(text)) >= 3]
        if len(texts) >= 4 and 2 * len(open_) > len(texts) and (_piled(texts) or _like_sentences(open_)):
            found[split], last = (len(open_), len(texts)), last or open_[0]
    if not found:
        return None
    return (
        f"the summary ends without a full stop in {where(found)}, as in {excerpt(last[-SHOWN_END:])}: cut texts teach "
        "a model to stop in mid-sentence; restore the ends, unless they are meant so"
    )


SHOWN_END = 40


def _piled(texts: Sequence[str]) -> bool:
    """Return whether a third of the texts have the greatest length there is, as texts cut at a limit have."""
    if len(texts) < 10:
        return False
    for lengths in ([len(text) for text in texts], [len(WORD.findall(text)) for text in texts]):
        if 3 * sum(length >= max(lengths) - 1 for length in lengths) >= len(lengths) and max(lengths) > 5:
            return True
    return False


def _like_sentences(texts: Sequence[str]) -> bool:
    """Return whether most longer words inside the texts begin with a small letter."""
    words = [word for text in texts for word in islice(_LONG_WORD.findall(text), 1, None)]
    return bool(words) and sum(word[0].islower() for word in words) >= 0.6 * len(words)


CHECKS: tuple[Callable[[Splits], str | None], ...] = (*PAIRS, _swapped, _constant, _labels, _without_end)


# --- what loading has counted, and ids ---------------------------------------------------------------------------


def _empty_targets(report: Mapping[str, Any], splits: Splits) -> str | None:
    """Say where a third of the records has no text, or a word in place of one."""
    found = {}
    for split, counts in report.items():
        examples = splits.get(split, ())
        words = sum(_flat(one.references[0]) in _NOTHING for one in examples)
        share = words / len(examples) if examples else 0.0
        nothing = counts["empty"] + round(share * (counts["read"] - counts["empty"]))
        if counts["read"] >= 4 and 3 * nothing >= counts["read"]:
            found[split] = (nothing, counts["read"])
    if not found:
        return None
    return (
        f"source or summary is empty or a word for nothing in {where(found)}: what is left may be no fair sample; look "
        "at --fields source=...,target=... and at how the files were made"
    )


def _ids(splits: Splits) -> str | None:
    """Say where many records share an id: loading has numbered those after the first (`id#2`)."""
    found = {}
    for split, examples in splits.items():
        again = sum(bool(re.search(r"#\d+$", one.id)) for one in examples)
        if 20 * again >= len(examples) > 0:
            found[split] = (again, len(examples))
    if not found:
        return None
    return (
        f"the id is one that an earlier record has in {where(found)}: scores by example name them id#2, id#3; "
        "look at whether rows were joined or copied by mistake"
    )
