"""The last lines that an engine's process wrote before it died, from Ray's logs of this machine (no ray)."""

from __future__ import annotations

import re
from pathlib import Path

from sweep.ray_driver.session_folder import session_folder

KEPT_LINES = 60
SAID_CHARACTERS = 300
# What names a cause, before what names the signal that it led to, among dumps of stacks and lists of modules.
CAUSES = r"what\(\):|terminate called|AddressSanitizer|corrupt|double free|invalid (next )?(size|pointer)|assertion"
SIGNALS = r"Fatal Python error|\*\*\* SIG|^\w*(Error|Exception)\b|fault$|bus error|killed"
TELLING = [re.compile(words, re.IGNORECASE) for words in (f"{CAUSES}|out of memory|cannot allocate", SIGNALS)]


def lines_of(folder: Path | None, pid: int) -> list[str]:
    """Return the last lines that a process wrote itself, none where it wrote nothing or ran elsewhere."""
    if folder is None:
        return []
    logs = session_folder(folder) / "session_latest" / "logs"
    lines: list[str] = []
    for path in (*logs.glob(f"worker-*-{pid}.out"), *logs.glob(f"worker-*-{pid}.err")):
        try:
            text = path.read_bytes()[-(2**16) :].decode("utf-8", errors="replace")
        except OSError:
            continue
        # Ray's own lines name the job and the actor.
        lines += [line.rstrip() for line in text.splitlines() if line.strip() and not re.match(r":\w+:", line)]
    return lines[-KEPT_LINES:]


def in_short(lines: list[str]) -> str:
    """Say how a process died by the line that tells most of why, else the last one, if it wrote any."""
    if not lines:
        return "without a word (killed, or out of memory)"
    found = [[line.strip() for line in lines if words.search(line)] for words in TELLING]
    text = (next((telling for telling in found if telling), None) or lines)[-1].strip()
    shown = "".join(character if character.isprintable() else " " for character in text)[:SAID_CHARACTERS]
    return f"(the last it wrote: {shown})"
