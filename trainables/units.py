"""Numbers, sizes and times as people write and read them (no torch).

Not by humanize, which says "1 minute and 43 seconds" (humanfriendly, too, and takes 40 ms to import).
"""

from __future__ import annotations

import re

from trainables.errors import UserError

SIZES = {
    **{unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))},
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), start=1)},
}
BINARY = tuple(SIZES)[:5]
TIMES = {"h": 3600, "min": 60, "m": 60, "s": 1}
_UNITS = {unit.lower(): size for unit, size in SIZES.items()}
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(h|min|m|s)")


def is_number(text: str) -> bool:
    """Tell whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def size(count: float) -> str:
    """Write bytes with a binary unit and two digits or more: '1.2 MiB', '681 MiB', '14.7 GiB'."""
    unit = BINARY[0]
    for unit in BINARY:
        if count < 1023.5 or unit == BINARY[-1]:
            break
        count /= 1024
    is_whole = unit == "B" or (unit in ("KiB", "MiB") and count >= 9.95)
    return f"{count:.{0 if is_whole else 1}f} {unit}"


def bytes_in(text: str) -> float | None:
    """Return the bytes in 5.6GiB, '800 MiB' or 12GB; None for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)\s*", text, re.IGNORECASE)
    return float(match[1]) * _UNITS[match[2].lower()] if match and match[2].lower() in _UNITS else None


def parse_bytes(option: str, text: str) -> int:
    """Return the bytes in 5.6GiB, 800MiB or 12GB; raises UserError for anything else."""
    value = int(bytes_in(text) or 0)
    if value <= 0:
        raise UserError(f"{option} must be a size above zero like 5.6GiB, 800MiB or 12GB, got {text!r}")
    return value


def duration(seconds: float) -> str:
    """Write seconds: '8.1 s', '39 s', '1 min 43 s', '3 h 12 min'."""
    if seconds < 9.95:
        return f"{round(seconds, 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def seconds_in(text: str) -> float | None:
    """Return the seconds in '1 min 43 s', 2h, 90m or 1h30m; None for anything else."""
    # Not by pytimeparse: it takes 1:30 for 90 seconds and -5m for an answer.
    parts = _TIME.findall(text)
    if not parts or _TIME.sub("", text).strip():
        return None
    return sum(float(number) * TIMES[unit] for number, unit in parts)


def parse_seconds(option: str, text: str) -> float:
    """Return the seconds in 2h, 90m, 45s or 1h30m; raises UserError for anything else."""
    value = seconds_in(text)
    if not value:
        raise UserError(f"{option} must be like 2h, 90m or 1h30m, got {text!r}")
    return value
