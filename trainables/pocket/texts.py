"""The texts that the pocket model is pretrained on: chats quoted in longer prose, and prose alone, from the same world.

A chat is never followed directly by what it settled: other sentences stand between, as in a diary or a novel, so that
the model learns to carry names, days and places through a text without ever seeing the form of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from trainables.pocket.phrases_pretrain import CHAT, TELLINGS
from trainables.pocket.scenes import Story, draw_facts, fill, pick, play, tell

# Whatever happens meanwhile; `d` is a person that no story of the same text is about, or hardly ever.
MEANWHILE: tuple[str, ...] = (
    "It rained all day.", "The street was quiet.", "Nobody was at {place}.", "{d} made some tea.", "It was late.",
    "The moon was over {place}.", "{d} read a book.", "Somewhere a dog was loud.", "The phone was silent then.",
    "It was a cold {day}.", "{d} went to {place} alone.", "The kitchen smelled of {food}.", "A train went by.",
    "{d} wanted {gift} and nothing else.", "Two birds sat on the roof.", "The light went out at {time}.",
    "{d} looked for a {item} all morning.", "An hour went by.", "The week was long.", "{d} slept until {time}.",
    "There was {bring} on the table.", "That was on a {day}.", "Then it was still.", "{d} said nothing.",
)  # fmt: skip

OPENINGS: tuple[str, ...] = (
    "It was {day}.", "These lines were on the phone of {d}.", "{d} kept old messages.",
    "This is from the diary of {d}.",
    "The messages came in at {time}.", "Here is what they wrote.", "{d} read it twice.", "Some friends were writing.",
    "A page from the book of {d}.",
)  # fmt: skip

SETTLED: tuple[str, ...] = (
    "So it was settled.", "That was that.", "Now all was clear.", "{d} heard about it later.", "All of them knew it.",
    "It was no secret.", "{d} wrote it down.", "This is how it came.",
)  # fmt: skip


def _sentences(rng: Random, templates: tuple[str, ...], most: int, least: int = 0) -> str:
    facts = draw_facts(rng)
    count = least + int(rng.random() * (most - least + 1))
    return " ".join(fill(pick(rng, templates), facts) for _ in range(count))


def _joined(rng: Random, parts: list[str]) -> str:
    # A paragraph break more often than a space, never either around a part left empty.
    full = [part for part in parts if part]
    text = full[0]
    for part in full[1:]:
        text += ("\n\n" if rng.random() < 0.8 else " ") + part
    return text


def quoted_chat(rng: Random) -> str:
    """Return a text that quotes a chat, goes on with something else, and later tells what was settled."""
    story = play(rng, CHAT)
    between = _sentences(rng, MEANWHILE + SETTLED, 2, least=1)
    opening, after = _sentences(rng, OPENINGS + MEANWHILE, 2), _sentences(rng, MEANWHILE, 1)
    head = f"{opening}\n\n{story.dialogue}" if opening else story.dialogue
    ends = tell(rng, story, TELLINGS, 2 if rng.random() < 0.3 else 1)
    return f"{head}\n\n" + _joined(rng, [between, ends[0], after, *ends[1:]])


def two_chats(rng: Random) -> str:
    """Return a text that quotes two chats of different people and tells the end of both, in either order."""
    stories: list[Story] = [play(rng, CHAT), play(rng, CHAT)]
    text = "\n\n".join(f"{_sentences(rng, OPENINGS + MEANWHILE, 1, least=1)}\n\n{story.dialogue}" for story in stories)
    told = stories if rng.random() < 0.5 else stories[::-1]
    ends = [tell(rng, story, TELLINGS, 1)[0] for story in told]
    return f"{text}\n\n" + _joined(rng, [_sentences(rng, MEANWHILE + SETTLED, 1, least=1), *ends])


def prose(rng: Random) -> str:
    """Return a text without a chat: an event, something else, and the event again in other words."""
    first, again = tell(rng, play(rng, CHAT), TELLINGS, 2)
    parts = [_sentences(rng, OPENINGS + MEANWHILE, 1), first, _sentences(rng, MEANWHILE + SETTLED, 2, least=1), again]
    return _joined(rng, parts)


def texts(seed: str) -> Iterator[str]:
    """Yield texts without end, the same for the same seed."""
    rng = Random(f"pocket-texts {seed}")
    while True:
        kind = rng.random()
        yield quoted_chat(rng) if kind < 0.75 else prose(rng) if kind < 0.95 else two_chats(rng)
