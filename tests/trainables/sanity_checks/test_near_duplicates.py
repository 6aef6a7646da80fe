"""Near duplicates: exactly those pairs whose runs of three words are alike enough, the same in every process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

from trainables import pocket
from trainables.sanity_checks.near_duplicates import SIMILAR, near_duplicates


def runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def similar(one: str, other: str) -> bool:
    return len(runs(one) & runs(other)) >= SIMILAR * len(runs(one) | runs(other))


def texts_with_changes(count: int = 120) -> tuple[list[str], list[str]]:
    """Texts of made-up words, and the same texts with none to six of their words changed, in another order."""
    draw = random.Random(7)
    words = [f"word{number}" for number in range(400)]
    texts = [" ".join(draw.choices(words, k=draw.randint(12, 60))) for _ in range(count)]
    changed = []
    for number, text in enumerate(texts):
        parts = text.split()
        for _ in range(number % 7):
            parts[draw.randrange(len(parts))] = draw.choice(words)
        changed.append(" ".join(parts))
    draw.shuffle(changed)
    return texts, changed


def test_the_pairs_found_are_those_that_comparing_all_with_all_finds() -> None:
    texts, changed = texts_with_changes()
    expected = {
        number: min(other for other, text in enumerate(changed) if similar(texts[number], text))
        for number in range(len(texts))
        if any(similar(texts[number], text) for text in changed)
    }
    assert 30 < len(expected) < 100
    assert near_duplicates(texts, changed) == expected


def test_case_marks_and_white_space_make_no_difference_and_short_texts_are_left_out() -> None:
    text = "Ann: did you see the blue map in the hall today?\nBob: no, but Cid has."
    other = "ann did  you see THE blue map in the hall today bob no but cid has"
    assert near_duplicates([text, "Ann: ok!"], ["Ann: ok!", other]) == {0: 1}


def test_different_chats_of_one_small_world_are_no_near_duplicates() -> None:
    chats = {split: [row["dialogue"] for row in pocket.records(split, 300)] for split in ("train", "test")}
    assert near_duplicates(chats["test"], chats["train"]) == {}


def test_another_process_with_other_hashes_of_words_finds_the_same() -> None:
    texts, changed = texts_with_changes(30)
    program = (
        "import json, sys\n"
        "from trainables.sanity_checks.near_duplicates import near_duplicates\n"
        "texts, changed = json.load(sys.stdin)\n"
        "print(json.dumps(list(near_duplicates(texts, changed).items())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([texts, changed]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
    )
    assert [tuple(pair) for pair in json.loads(done.stdout)] == list(near_duplicates(texts, changed).items())
