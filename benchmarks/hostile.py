"""A corpus that is valid and unpleasant: what text may hold and no writer of a data set has thought of."""

from __future__ import annotations

import json
import random
from pathlib import Path

PIECES = (
    "\x00\x01\x02\x07\x08\x0b\x0c\x1b\x7f",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1b[H",
    "<|endoftext|> <s> </s> <pad> <unk> [INST] <|im_start|>assistant",
    "[bold]markup[/bold] [/] [link=file:///etc/passwd]x[/link]",
    "{source} {target} {product} %s %(name)s ${HOME} $(echo x) `echo x`",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "e\u0301\u0301\u0301\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467 \ufeff \u00a0 \u2028 \u2029 \x85",
    "<script>alert(1)</script> &amp; \"quoted\" 'single' \\n \\u0000 |pipe| *star* _under_ # head",
    "../../../etc/passwd C:\\nul\\con.txt =1+1 @sum ,comma; \ttab\r\nline",
    "a" * 400,
)
WORDS = ("Ann", "meets", "Bob", "at", "noon", "in", "the", "old", "town", "hall", "today")
ROWS = {"train": 40, "val": 16, "test": 20}


def write_hostile(folder: Path, seed: int) -> Path:
    """Write a data set of three splits with every piece in each of them; return its folder."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for split, count in ROWS.items():
        rows = [_row(split, number, chance) for number in range(count)]
        rows.append({"id": f"{split}-empty", "dialogue": "", "summary": "nothing"})
        rows.append({"id": f"{split}-blank", "dialogue": " \n\t ", "summary": " "})
        (folder / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def _row(split: str, number: int, chance: random.Random) -> dict[str, str]:
    piece = PIECES[number % len(PIECES)]
    words = [chance.choice(WORDS) for _ in range(2000 if number == 7 else chance.randint(5, 40))]
    words.insert(chance.randint(0, len(words)), piece)
    summary = f"{chance.choice(WORDS)} {piece[:40]} {chance.choice(WORDS)} {split} {number}"
    return {"id": f"{split} {piece[:8]} {number}", "dialogue": " ".join(words), "summary": summary}
