"""A prompt as one text, tokenised as whoever sends it later gets it; a long source is cut as text (no torch).

A text knows which of it comes from an example: a special token that a template spells is one, in an example it is text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trainables.prompts import split_template

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Found = TypeVar("Found")


class Encoded(Protocol):
    """The tokens of a text, with the characters that each token stands for."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...


@dataclass(frozen=True)
class PromptText:
    """A prompt as text; `data` are the places (start, end) that come from an example, the rest is the template's."""

    text: str
    data: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Joined:
    """The tokens of a text that was tokenised piece by piece."""

    ids: list[int]
    offsets: list[tuple[int, int]]


def prompt_of(template: str, source: str) -> PromptText:
    """Return the template with its source filled in."""
    instruction, cue = split_template(template)
    start = len(instruction)
    return PromptText(f"{instruction}{source}{cue}", ((start, start + len(source)),))


def with_summary(prompt: PromptText, summary: str) -> PromptText:
    """Return a prompt, a space and its summary."""
    text = f"{prompt.text} {summary.strip()}"
    return PromptText(text, (*prompt.data, (len(prompt.text), len(text))))


def spells_special(rendered: PromptText, tokens: Encoded, special: Mapping[int, str]) -> bool:
    """Tell whether a special token was found in what an example says."""
    if special.keys().isdisjoint(tokens.ids):
        return False
    found = _special(rendered.text, tokens, special)
    return any(_in_data(rendered, start, end) for start, end, _ in found)


def as_text(
    tokenizer: Tokenizer, plain: Tokenizer, rendered: PromptText, tokens: Encoded, special: Mapping[int, str]
) -> Joined:
    """Tokenise a text of which an example spells a special token: what lies between those of the template is plain.

    Without one in the template that is what `split_special_tokens=True` gives.
    """
    own = [one for one in _special(rendered.text, tokens, special) if not _in_data(rendered, one[0], one[1])]
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    at = 0
    for start, end, index in (*own, (len(rendered.text), len(rendered.text), -1)):
        piece = plain.encode(rendered.text[at:start], add_special_tokens=False)
        ids += piece.ids
        offsets += [(at + first, at + last) for first, last in piece.offsets]
        if index >= 0:
            ids.append(index)
            offsets.append((start, end))
        at = end
    return Joined(ids, offsets)


def _special(text: str, tokens: Encoded, special: Mapping[int, str]) -> list[tuple[int, int, int]]:
    """Return place and id of every special token that is spelled out: an unknown character is none."""
    return [
        (start, end, index)
        for index, (start, end) in zip(tokens.ids, tokens.offsets, strict=True)
        if index in special and text[start:end].strip() == special[index].strip()
    ]


def _in_data(rendered: PromptText, start: int, end: int) -> bool:
    return any(start < last and first < end for first, last in rendered.data)


def seam_of(prompt: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], last: Sequence[int]) -> int | None:
    """Return how many tokens of a whole text are its prompt's, None where the prompt has to be tokenised to know.

    Tokens that end where a prompt does are those of the prompt alone: nothing was merged over that place, and what was
    merged before it does not depend on what comes later. Not so behind white space, which words and runs of it take;
    and `last`, with which every prompt of the template ends, shows that no space was added to the token there.
    """
    if not prompt or prompt[-1].isspace():
        return None
    seam = bisect_left(offsets, (len(prompt), 0))
    joins = any(end > len(prompt) for _, end in offsets[max(0, seam - 1) : seam])
    return None if joins or list(ids[max(0, seam - 1) : seam]) != list(last) else seam


@dataclass(frozen=True)
class Cut:
    """A source cut after one of its tokens, at a whole character; `fits` is the longest so far that does.

    `ends` are the characters at which it can be cut and `counts` the tokens before each, both known once the whole has
    been tokenised: `at` is the place among them that is tried, between `low`, which fits, and `high`, which does not.
    """

    template: str
    source: str
    ends: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    at: int = 0
    low: int = -1
    high: int = 0
    fits: Any = None

    @classmethod
    def none(cls, template: str, source: str) -> Cut:
        """Return a source that is whole."""
        return cls(template, source)

    @property
    def is_whole(self) -> bool:
        return not self.ends

    @property
    def prompt(self) -> PromptText:
        return prompt_of(self.template, self.source if self.is_whole else self.source[: self.ends[self.at]])

    @property
    def kept(self) -> int:
        return self.counts[self.at] if self.ends else 0

    @property
    def tokens_cut(self) -> int:
        return self.counts[-1] - self.kept if self.ends else 0

    def following(self, over: int, offsets: Sequence[tuple[int, int]], found: Found) -> Cut | Found:
        """Return what to try after `found`, which is `over` tokens too long, or the longest that fits.

        A cut text is tokenised anew, and may have a token more or less than what was counted.
        """
        if self.is_whole:
            return found if over <= 0 else self._first(over, offsets)
        if over > 0 and self.at > 0:
            low, high, fits = self.low, self.at, self.fits
            following = max(low + 1, self.at - over, 0)
        else:
            low, high, fits = self.at, self.high, found
            following = min(self.at - over, high - 1) if over < 0 else low
        if not low < following < high:
            return fits if fits is not None else found
        return replace(self, at=following, low=low, high=high, fits=fits)

    def _first(self, over: int, offsets: Sequence[tuple[int, int]]) -> Cut:
        start = split_template(self.template)[0]
        tokens = _ends(offsets, len(start), len(start) + len(self.source))
        counts = {0: 0, **{end: number for number, end in enumerate(tokens, start=1)}}
        ends = tuple(counts)
        at = bisect_right(tuple(counts.values()), len(tokens) - over) - 1
        return replace(self, ends=ends, counts=tuple(counts.values()), at=max(at, 0), high=len(ends))


def _ends(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Return where in the source each of its tokens ends: those that start in it."""
    found: list[int] = []
    for first, last in offsets:
        if start <= first < end:
            found.append(max(min(last, end) - start, found[-1] if found else 0))
    return found
