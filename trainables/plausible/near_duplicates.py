"""Texts of one split that are nearly those of another: rare runs in common find the pairs, all runs decide (no torch).

Two texts are near duplicates where their runs of three words have a Jaccard similarity of at least `SIMILAR`, as in
Lee et al. 2022 ("Deduplicating training data makes language models better"), who take 0.8 for whole web pages.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

SIMILAR = 0.6  # one word in twenty may differ, in the middle of a text
LEAST_WORDS = 8  # shorter texts are alike by chance
_WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Return index in `texts` -> index in `others` of the first that is nearly the same; seconds at 20,000 texts."""
    runs = {index: found for index, text in enumerate(texts) if (found := _runs(text))}
    known = set().union(*runs.values())
    # As much of both texts is shared: whatever has less in common with all texts together is near none.
    near = {
        index: found
        for index, text in enumerate(others)
        if (found := _runs(text)) and len(found & known) >= SIMILAR * len(found)
    }
    return _similar(runs, near) if near else {}


def _similar(runs: Mapping[int, set[int]], near: Mapping[int, set[int]]) -> dict[int, int]:
    counts = Counter(chain.from_iterable(runs.values()))
    begins: dict[int, list[int]] = defaultdict(list)
    for key, found in runs.items():
        for run in _rarest(found, counts):
            begins[run].append(key)
    pairs: dict[int, int] = {}
    for other, found in near.items():
        for key in set(chain.from_iterable(begins.get(run, ()) for run in _rarest(found, counts))):
            if key in pairs:
                continue
            shared = len(runs[key] & found)
            if shared >= SIMILAR * (len(runs[key]) + len(found) - shared):
                pairs[key] = other
    return dict(sorted(pairs.items()))


def _rarest(found: set[int], counts: Mapping[int, int]) -> list[int]:
    """Return so many of a text's rarest runs that every near duplicate shares one of its own rarest with them.

    Prefix filtering (Chaudhuri et al. 2006): the last k - 1 of both cannot hold all of the k that must be shared.
    """
    shared = math.ceil(SIMILAR * len(found) - 1e-9)
    return sorted(found, key=lambda run: (counts[run], run))[: len(found) - shared + 1]


def _runs(text: str) -> set[int]:
    """Return the runs of three words of a text as this process's own hashes of 64 bits; none of a short one."""
    words = _WORD.findall(text.lower())
    return set(map(hash, zip(words, words[1:], words[2:], strict=False))) if len(words) >= LEAST_WORDS else set()
