"""The prompt templates, as data: each is an instruction, the source, and a cue after which the summary starts.

A template holds `{source}` exactly once. What stands before it is the instruction, what stands after it is the cue;
truncation shortens the source alone (see `trainables.tokenization.token_rows`), so neither is ever cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from trainables.errors import UserError, nearest

SOURCE_FIELD = "{source}"
TARGET_FIELD = "{target}"

PROMPTS: dict[str, str] = {
    "v1": "Summarize the dialogue.\n\n{source}\n\nSummary:",
    "v2": (
        "Summarize the dialogue below in one or two sentences. Write in the third person, be concise, "
        "and state only what was said.\n\n{source}\n\nSummary:"
    ),
}


def split_template(template: str) -> tuple[str, str]:
    """Return the instruction before and the cue after `{source}`; raises UserError unless it occurs exactly once."""
    count = template.count(SOURCE_FIELD)
    if count != 1:
        raise UserError(f"a prompt must hold {SOURCE_FIELD} exactly once, got {count} times in {template!r}")
    if TARGET_FIELD in template:
        raise UserError(f"a prompt must not hold {TARGET_FIELD}: the answer would stand in it, got {template!r}")
    instruction, cue = template.split(SOURCE_FIELD)
    return instruction, cue


def check_fields(name: str, template: str, columns: Iterable[str]) -> None:
    """Raise UserError where a template holds a column of the data in braces: the source alone is filled in."""
    found = [column for column in columns if f"{{{column}}}" in template and column != "source"]
    if found:
        raise UserError(
            f"prompt {name!r} holds {{{found[0]}}}, a column of the data; {SOURCE_FIELD} alone is filled in: "
            "leave it out, or put the column into the source field of the data"
        )


def template_of(name: str, own: dict[str, str]) -> str:
    """Return the template called `name` among the experiment's own prompts and the built-in ones."""
    known = {**PROMPTS, **own}
    if name not in known:
        raise UserError(f"prompt {name!r} is unknown; {nearest(name, known)}")
    split_template(known[name])
    return known[name]
