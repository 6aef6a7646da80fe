"""Control characters as their codes; what people write stays as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest

from trainables.visible_text import json_text, visible, visible_line

WRITTEN = (
    "a\tb\nc",
    "naïve – “quoted”",
    "日本語の要約",
    "שלום\u200f!",
    "می\u200cخواهم",
    "👩\u200d👩\u200d👧 \U0001f3f4\U000e0067\U000e007f",
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("bell\x07 back\x08 del\x7f nul\x00", r"bell\x07 back\x08 del\x7f nul\x00"),
        ("over\rwritten", r"over\rwritten"),
        ("abc\u202efed\u2066", r"abc\u202efed\u2066"),
        ("torn \ud83d", r"torn \ud83d"),
        ("line\u2028line", r"line\u2028line"),
        ("\ufeffa\uffff", r"\ufeffa\uffff"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_its_code(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_every_control_character_and_every_override_is_shown_whatever_unicode_adds() -> None:
    steering = [
        chr(code)
        for code in range(0x10000)
        if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(chr(code)) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
    assert len(steering) > 2100
    assert [sign for sign in steering if visible_line(sign).isascii() is False or len(visible_line(sign)) < 2] == []


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


def test_a_line_has_no_line_breaks_or_tabs() -> None:
    assert visible_line("a\nb\tc") == r"a\nb\tc"


def test_json_keeps_its_values_and_steers_nothing() -> None:
    content = {"a\x9b": ["\x1b[2J", "\u202e", "torn \ud83d", "日本", 0.5, None]}
    text = json_text(content)
    assert visible(text) == text
    assert json.loads(text) == content
    assert "日本" in text
