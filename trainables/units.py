"""Numbers as people write them (no torch)."""

from __future__ import annotations


def is_number(text: str) -> bool:
    """Tell whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
