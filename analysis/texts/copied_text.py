"""What a text copies from its source: extractive fragments (Grusky et al. 2018, Newsroom), n-grams and runs.

A fragment is found greedily, as in figure 3 of the paper: the scan of the source goes on behind a match, so that of
"a a b" in "a a a b" the fragments are "a a" and "b".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

LATIN = re.compile(r"[a-z0-9]+")
# Where ROUGE's tokens are none: runs of letters and digits of any script, signs of scripts without spaces one by one.
ANY_SCRIPT = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
    r"|[^\W_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)


@dataclass(frozen=True)
class Span:
    """`length` tokens of a text from token `start`, which stand in its source from token `place`."""

    start: int
    length: int
    place: int


@dataclass(frozen=True)
class SourceTokens:
    """The tokens of a source, with the places of each."""

    tokens: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, token in enumerate(self.tokens):
            found.setdefault(token, []).append(place)
        return found

    def ngrams(self, n: int) -> set[tuple[str, ...]]:
        return self._ngrams.setdefault(n, set(ngrams(self.tokens, n)))

    @cached_property
    def _ngrams(self) -> dict[int, set[tuple[str, ...]]]:
        return {}


def tokens_of(text: str, any_script: bool = False) -> tuple[str, ...]:
    """Return the tokens that fragments are made of: ROUGE's without stems, or words of any script."""
    return tuple((ANY_SCRIPT if any_script else LATIN).findall(text.lower()))


def spans_of(text: str, any_script: bool = False) -> list[tuple[int, int]]:
    """Return where each token of tokens_of stands in `text`.

    Lower-casing can lengthen a text (the Turkish dotted I), so each token is found in the text as it is.
    """
    lowered = "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)
    return [match.span() for match in (ANY_SCRIPT if any_script else LATIN).finditer(lowered)]


def fragments(tokens: Sequence[str], source: SourceTokens) -> list[Span]:
    """Return the greedy fragments of `tokens` in `source`, in order; tokens that it lacks are in none."""
    found = []
    start, count, length = 0, len(source.tokens), len(tokens)
    while start < length:
        best, best_place, behind = 0, 0, 0
        for place in source.places.get(tokens[start], ()):
            if place < behind:
                continue
            run = 1
            while start + run < length and place + run < count and tokens[start + run] == source.tokens[place + run]:
                run += 1
            if run > best:
                best, best_place = run, place
            behind = place + run
        if best:
            found.append(Span(start, best, best_place))
        start += max(best, 1)
    return found


def longest_run(tokens: Sequence[str], source: SourceTokens) -> int:
    """Return the length of the longest run of tokens that stands in the source as it is."""
    best = 0
    before: dict[int, int] = {}
    for token in tokens:
        here = {place: before.get(place - 1, 0) + 1 for place in source.places.get(token, ())}
        best = max(best, *here.values()) if here else best
        before = here
    return best


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Return all runs of n tokens."""
    return zip(*(tokens[offset:] for offset in range(n)), strict=False)


def novel_share(tokens: Sequence[str], source: SourceTokens, n: int) -> float | None:
    """Return the share of the distinct n-grams that the source lacks (SummEval's definition); None without any."""
    distinct = set(ngrams(tokens, n))
    return len(distinct - source.ngrams(n)) / len(distinct) if distinct else None


def repeated_share(tokens: Sequence[str], n: int) -> float | None:
    """Return the share of the distinct n-grams that occur more than once; None without any."""
    counts = Counter(ngrams(tokens, n))
    return sum(count > 1 for count in counts.values()) / len(counts) if counts else None


def extractiveness(tokens: Sequence[str], source: SourceTokens) -> dict[str, float | None]:
    """Return coverage, density, compression, novel and repeated n-grams; an empty text copies nothing."""
    found = fragments(tokens, source)
    size = len(tokens)
    values: dict[str, float | None] = {
        "coverage": sum(one.length for one in found) / size if size else 0.0,
        "density": sum(one.length**2 for one in found) / size if size else 0.0,
        "compression": len(source.tokens) / size if size else None,
        "longest_share": longest_run(tokens, source) / size if size else 0.0,
    }
    values |= {f"novel_{n}": novel_share(tokens, source, n) for n in (1, 2, 3, 4)}
    return values | {f"repeated_{n}": repeated_share(tokens, n) for n in (1, 2, 3, 4)}
