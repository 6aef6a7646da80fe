"""Texts of one split that are nearly those of another: MinHash finds the candidates, their own words decide (no torch).

Two texts are near duplicates where their runs of three words have a Jaccard similarity of at least `SIMILAR`, as in
Lee et al. 2022 ("Deduplicating training data makes language models better"), who take 0.8 for whole web pages.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

SIMILAR = 0.6  # one word in twenty may differ, in the middle of a text
LEAST_WORDS = 8  # shorter texts are alike by chance
PERMUTATIONS, BANDS = 64, (32, 2)  # a pair at 0.6 is no candidate in one case of a million: (1 - 0.6^2)^32
WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str], others: Sequence[str]) -> dict[int, int]:
    """Return index in `texts` -> index in `others` of the first that is nearly the same; seconds at 20,000 texts."""
    runs = {index: found for index, text in enumerate(texts) if (found := _runs(text))}
    known = set().union(*runs.values())
    # As much of both texts is shared: whatever has less in common with all texts together needs no sketch.
    near = {
        index: found
        for index, text in enumerate(others)
        if (found := _runs(text)) and len(found & known) >= SIMILAR * len(found)
    }
    return _similar(runs, near) if near else {}


def _similar(runs: dict[int, set[int]], near: dict[int, set[int]]) -> dict[int, int]:
    from datasketch import MinHash, MinHashLSH  # most of a second, for scipy

    index = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
    for key, sketch in zip(runs, MinHash.generator(runs.values(), num_perm=PERMUTATIONS, hashfunc=int), strict=True):
        index.insert(key, sketch)
    pairs: dict[int, int] = {}
    sketches = MinHash.generator(near.values(), num_perm=PERMUTATIONS, hashfunc=int)
    for (other, found), sketch in zip(near.items(), sketches, strict=True):
        for key in index.query(sketch):
            if key not in pairs and len(runs[key] & found) >= SIMILAR * len(runs[key] | found):
                pairs[key] = other
    return dict(sorted(pairs.items()))


def _runs(text: str) -> set[int]:
    """Return the runs of three words of a text as numbers of 32 bits, alike everywhere; none of a short one."""
    words = WORD.findall(text.lower())
    if len(words) < LEAST_WORDS:
        return set()
    numbers = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    return {
        (one * 0x9E3779B1 + two * 0x85EBCA6B + three * 0xC2B2AE35) & 0xFFFFFFFF
        for one, two, three in zip(numbers, numbers[1:], numbers[2:], strict=False)
    }
