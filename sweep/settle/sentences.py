"""What there is to say of a race, while it runs and beforehand (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.statistics.racing import Look

MOST_NAMES = 8


def look_sentences(looks: Sequence[Look]) -> list[str]:
    """Return a sentence for each look: who leads, and who leaves or comes back."""
    return [_sentence(look) for look in looks]


def _sentence(look: Look) -> str:
    parts = [f"look at {look.examples} examples of {len(look.scored)} configurations: {look.best} leads"]
    parts += [f"{_listed(look.left)} leave{'s' if len(look.left) == 1 else ''}"] if look.left else []
    parts += [f"{_listed(look.back)} come{'s' if len(look.back) == 1 else ''} back"] if look.back else []
    return ", ".join(parts)


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:MOST_NAMES])
    return ", ".join(shown) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
