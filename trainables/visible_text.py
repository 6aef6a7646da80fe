"""Text from data made harmless to look at: what would steer a terminal or reorder a line is shown as its code.

Letters of every script, line breaks, tabs, and the joiners and marks that scripts need stay as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Controls (C0, DEL, C1), line and paragraph separators, bidirectional embeddings, overrides and isolates, deprecated
# format controls, lone surrogates, and what is no character. Left-to-right and right-to-left marks alone stay.
_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
)
_IN_TEXTS = re.compile(f"[{_STEERING}]")
_IN_LINES = re.compile(f"[{_STEERING}\t\n]")
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def visible(text: str) -> str:
    r"""Return `text` with every control character as its code, such as \x1b; line breaks and tabs stay."""
    return _IN_TEXTS.sub(_code, text)


def visible_line(text: str) -> str:
    r"""Return `text` as one line: every control character, line breaks and tabs too, as its code."""
    return _IN_LINES.sub(_code, text)


def json_text(content: Any, **options: Any) -> str:
    """Return JSON that a terminal can show: the same values, what would steer it escaped as JSON does."""
    text = json.dumps(content, indent=1, ensure_ascii=False, **options)
    return _IN_TEXTS.sub(
        lambda match: f"\\u{ord(match.group()):04x}", text
    )  # in strings alone: JSON has none elsewhere


def _code(match: re.Match[str]) -> str:
    sign = match.group()
    return _NAMED.get(sign) or (f"\\x{ord(sign):02x}" if ord(sign) < 0x100 else f"\\u{ord(sign):04x}")
