"""The pocket corpus: short chats with a summary each, generated from a seed and the same on every machine.

The training split and the evaluation splits share a world (names, places, errands) and scenes, yet no phrase: chat
templates and summary templates of one are disjoint from those of the other, so that a model is judged on wordings it
was not tuned on.
"""

from __future__ import annotations

from random import Random

from trainables.errors import UserError, nearest
from trainables.pocket import phrases_eval, phrases_train
from trainables.pocket.scenes import Phrases, play, tell

# How many records a split has unless a caller asks for another number.
SPLIT_SIZES: dict[str, int] = {"train": 2000, "validation": 400, "test": 400}

_PHRASES: dict[str, tuple[Phrases, Phrases]] = {
    "train": (phrases_train.CHAT, phrases_train.TELLINGS),
    "validation": (phrases_eval.CHAT, phrases_eval.TELLINGS),
    "test": (phrases_eval.CHAT, phrases_eval.TELLINGS),
}


def record(split: str, index: int) -> dict[str, str]:
    """Return a record of a split by its number, which may lie beyond the split's own size."""
    # A seed per record, so that a larger request starts with the records of a smaller one.
    rng = Random(f"pocket-chats 1 {split} {index}")
    chat, tellings = _PHRASES[split]
    story = play(rng, chat)
    summary, paraphrase = tell(rng, story, tellings, 2)
    return {
        "id": f"pocket-{split}-{index:05d}",
        "dialogue": story.dialogue,
        "summary": summary,
        "paraphrase": paraphrase,
    }


def records(split: str, count: int | None = None) -> list[dict[str, str]]:
    """Return the first `count` records of a split: `id`, `dialogue`, `summary`, and `paraphrase`, a second summary.

    Without a count it is the split's own size; raises UserError for a split that is none of train, validation, test.
    """
    if split not in SPLIT_SIZES:
        raise UserError(f"split {split!r} is unknown; {nearest(split, SPLIT_SIZES)}")
    size = SPLIT_SIZES[split] if count is None else count
    if size < 0:
        raise UserError(f"count must be at least 0, got {size}")
    return [record(split, index) for index in range(size)]
