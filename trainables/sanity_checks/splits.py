"""What one split looks like beside another: another language, nearly the same texts, or the very same (no torch)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from trainables.data.corpus import Example
from trainables.sanity_checks.near_duplicates import near_duplicates
from trainables.sanity_checks.texts import Splits, spread
from trainables.sanity_checks.wording import excerpt, listed, where

LEAST_WORDS = 120  # of a split; the most frequent words of fewer say little
FREQUENT = 50
FOREIGN = 0.35  # measured: 0.9 to 1 within six corpora, 0.48 between English chats and instructions, 0.0 to 0.2 abroad
NEAR = 0.02  # of an evaluation split; fewer move no mean by much
COMPARED, COMPARED_CHARACTERS = 20_000, 1_000  # training texts, and how much of each: seconds in all
# Scripts written without spaces are taken letter by letter.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W\d_{_UNSPACED}]+")


def find(splits: Splits, report: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every mistake that shows between the training split and the evaluated ones."""
    return [one for one in (_same_split(report), _languages(splits), _near(splits)) if one]


def _same_split(report: Mapping[str, Any]) -> str | None:
    """Say where a fifth of a split or more stands in another one, left out or kept."""
    parts = []
    for split, counts in report.items():
        for key, other in (("leaked", "train"), ("also_in_validation", "validation")):
            if counts.get(key) and 5 * counts[key] >= counts["read"]:
                parts.append(f"{counts[key]:,} of {counts['read']:,} {split} sources are also in {other}")
    if not parts:
        return None
    return (
        f"{listed(parts)}: the files look like copies of each other, and what is left may be no fair sample; split the "
        "data anew"
    )


def _languages(splits: Splits) -> str | None:
    """Compare the most frequent words: those of one language are the same in all its texts, whatever they are about."""
    for field, texts_of in (("sources", _sources), ("summaries", _references)):
        train = _counts(texts_of(spread(splits.get("train", ()))))
        for split in ("validation", "test"):
            other = _counts(texts_of(spread(splits.get(split, ()))))
            if min(train.total(), other.total()) >= LEAST_WORDS and _likeness(train, other) < FOREIGN:
                return (
                    f"the {field} of {split} look like another language than those of train: the most frequent words "
                    f"are {_words(other)} there and {_words(train)} in train; look at the files of both splits"
                )
    return None


def _sources(examples: Iterable[Example]) -> Iterable[str]:
    return (one.source[:COMPARED_CHARACTERS] for one in examples)


def _references(examples: Iterable[Example]) -> Iterable[str]:
    return (one.references[0][:COMPARED_CHARACTERS] for one in examples)


def _counts(texts: Iterable[str]) -> Counter[str]:
    return Counter(chain.from_iterable(_WORD.findall(text.casefold()) for text in texts))


def _likeness(train: Counter[str], other: Counter[str]) -> float:
    """Return how much of `other` the frequent words of `train` cover, of what its own frequent words cover."""
    known = {word for word, _ in train.most_common(FREQUENT)}
    own = other.most_common(FREQUENT)
    return sum(count for word, count in other.items() if word in known) / sum(count for _, count in own)


def _words(counts: Counter[str]) -> str:
    return ", ".join(excerpt(word) for word, _ in counts.most_common(4))


def _near(splits: Splits) -> str | None:
    """Say where 2% of an evaluation split or more are nearly training texts; the exact copies have been left out."""
    train = spread(splits.get("train", ()), COMPARED)
    evaluated: Sequence[tuple[str, Example]] = [
        (split, one) for split in ("validation", "test") for one in spread(splits.get(split, ()))
    ]
    pairs = near_duplicates([*_sources(one for _, one in evaluated)], [*_sources(train)])
    total, near = (Counter(split for split, _ in some) for some in (evaluated, [evaluated[i] for i in pairs]))
    found = {split: (near[split], total[split]) for split in near if near[split] >= NEAR * total[split]}
    if not found:
        return None
    first = next(index for index in pairs if evaluated[index][0] in found)
    return (
        f"the source is nearly a training text in {where(found)}, such as {excerpt(evaluated[first][1].id)} beside "
        f"{excerpt(train[pairs[first]].id)}: scores on them flatter; leave them out of one of the splits"
    )
