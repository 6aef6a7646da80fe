"""What was found in the data and left out of them, in lines that `plan` and `run` print alike (no torch)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def reference_counts(references: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return how many examples have how many references, empty where each has one."""
    counts = Counter(len(texts) for texts in references)
    return {} if set(counts) <= {1} else {str(number): counts[number] for number in sorted(counts)}


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return what a corpus's report says as sentences: one per split, then what holds for all of them."""
    lines = [_split_line(split, found, report["keep_leaked"]) for split, found in report["splits"].items()]
    return [*lines, *report.get("notes", ())]


def _split_line(split: str, found: Mapping[str, Any], keep_leaked: bool) -> str:
    parts = [f"{split}: {found['kept']} of {found['read']} records"]
    if found["empty"]:
        parts.append(f"{found['empty']} empty dropped")
    if found["duplicates"]:
        fate = "kept" if split == "train" else "left out"
        parts.append(f"{found['duplicates']} repeated sources {fate}")
    for key, where in (("leaked", "train"), ("also_in_validation", "validation")):
        if found[key]:
            fate = "kept as asked" if keep_leaked else "left out"
            parts.append(f"{found[key]} also in {where} {fate}")
    if counts := found.get("references"):
        numbers = sorted(map(int, counts))
        many = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
        use = "training uses the first" if split == "train" else "the best counts"
        parts.append(f"{many} references each ({use})")
    return ", ".join(parts)
