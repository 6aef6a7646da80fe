"""How the sentences about plausible mistakes are worded: counts, and text from data made short and harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainables.visible_text import visible_line

SHOWN_CHARACTERS = 48


def excerpt(text: str) -> str:
    """Return the beginning of a text from the data in quotes, on one line that steers no terminal."""
    flat = " ".join(text[: 4 * SHOWN_CHARACTERS].split())
    return visible_line(f"'{flat if len(flat) <= SHOWN_CHARACTERS else flat[:SHOWN_CHARACTERS].rstrip() + '...'}'")


def where(found: Mapping[str, tuple[int, int]]) -> str:
    """Return '14,700 of 14,731 train and 771 of 771 validation examples' for counts by split."""
    return f"{listed([f'{some:,} of {all_:,} {split}' for split, (some, all_) in found.items()])} examples"


def listed(parts: Sequence[str]) -> str:
    """Return parts as prose: 'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))) if parts else ""
