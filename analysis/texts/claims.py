"""What a text states that its source does not: numbers and names, found by their form alone (no model).

A name is a capitalized word that is no common word at the start of a sentence. The measure is crude and the same for
all rows, so a row means something beside that of the references, which state some things in words of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
SENTENCE_END = re.compile(r"[.!?…][\"'”’)]*\s+|\n+|:\s+|^\s*|[\"“]")
_SPELLED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty
"""
SPELLED = _SPELLED.split()
FIRST_PERSON = re.compile(r"\b(?:I|I['’](?:m|ll|ve|d)|me|my|mine|we|us|our|ours)\b")
TURN = re.compile(r"^[ \t]*[^\W\d_][\w.'’-]*(?: [\w.'’-]+){0,2}:[ \t]+\S", re.MULTILINE)
SENTENCE = re.compile(r"[^.!?…\n]*\w[^.!?…\n]*")
# Words that start sentences and are no names.
_COMMON = """
a about after all also although an and another any anyone are as at because before both but by can could did do does
during each either even every everybody everyone everything finally first for from had has have he her here hers him
his how however i if in is it its just last later let many maybe me more most my neither next no nobody none nor not
nothing now of often on once one only or other others our out over people perhaps please she should since so some
somebody someone something soon still such than thanks that the their them then there therefore these they this
those though today together tomorrow tonight too two unless until was we well were what when where whether which
while who why will with within without would yes yesterday yet you your
"""
COMMON = frozenset(_COMMON.split())


@dataclass(frozen=True)
class Claims:
    """The numbers and names of a text, as (start, end) of those that its source lacks and how many there are."""

    numbers: int
    names: int
    unsupported_numbers: tuple[tuple[int, int], ...]
    unsupported_names: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Stated:
    """What a source states: its numbers, and its words in lower case."""

    numbers: frozenset[str]
    words: frozenset[str]


def stated(source: str) -> Stated:
    """Return the numbers and words of a source; 'three' states 3."""
    words = {_stem(match.group().lower()) for match in WORD.finditer(source)}
    numbers = {_plain(match.group()) for match in NUMBER.finditer(source)}
    numbers |= {part for number in NUMBER.findall(source) for part in re.split(r"[.,:]", number)}
    numbers |= {str(SPELLED.index(word)) for word in words if word in SPELLED}
    return Stated(frozenset(numbers), frozenset(words))


def claims(text: str, source: Stated) -> Claims:
    """Return the numbers and names of a text that its source does not state."""
    numbers = list(NUMBER.finditer(text))
    starts = {match.end() for match in SENTENCE_END.finditer(text)} | {0}
    names = [
        match
        for match in WORD.finditer(text)
        if match.group()[0].isupper()
        and _stem(match.group().lower()) not in ("i", "ok", "okay")
        and not (match.start() in starts and match.group().lower() in COMMON)
        and match.group() not in ("I'm", "I'll", "I've", "I'd", "I’m", "I’ll", "I’ve", "I’d")
    ]
    lacking = tuple(match.span() for match in numbers if _plain(match.group()) not in source.numbers)
    unknown = tuple(match.span() for match in names if _stem(match.group().lower()) not in source.words)
    return Claims(len(numbers), len(names), lacking, unknown)


def sentences(text: str) -> int:
    """Return the number of sentences: parts with a word between sentence ends and line ends."""
    return len(SENTENCE.findall(text))


def first_person(text: str) -> bool:
    """Return whether the text speaks as I or we."""
    return FIRST_PERSON.search(text) is not None


def speaker_turns(text: str) -> int:
    """Return the number of lines that begin like a turn of a dialogue: 'Anna: '."""
    return len(TURN.findall(text))


def _stem(word: str) -> str:
    """Return a word without its possessive ending."""
    return re.sub(r"['’]s$|['’]$", "", word)


def _plain(number: str) -> str:
    """Return a number without thousands separators: '1,000' is '1000'."""
    return re.sub(r",(?=\d{3}(?:\D|$))", "", number)
