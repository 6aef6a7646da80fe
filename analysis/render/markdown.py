"""A comparison as Markdown: text from data reads as it is where that is rendered, without a tag or link of its own."""

from __future__ import annotations

import json
import re

from analysis.findings.findings import Findings
from analysis.findings.sentences import headline
from analysis.render.panels import more_grids
from analysis.render.search_panels import search_grids
from analysis.render.terminal_tables import grids_of, legend, title
from analysis.render.text_grids import TextGrid, main_grid, one_line
from trainables.visible_text import visible_line

# What means something within a line to CommonMark and to GitHub. The rest stays as it is written, so that the source is
# read easily too: an underscore within a word, the brackets of an interval.
_INLINE = re.compile(
    r"[\\`*|$]"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|(?<=!)\[|\[(?=[\[^ xX])"  # an image; a wiki link, a footnote, a task
    r"|\](?=[(\[:{])"  # the end of a link's text
    r"|~(?=~)|(?<=~)~"
    r"|(?<=:)/(?=/)|(?<=www)\."  # addresses, which become links by themselves
    r"|:(?=[\w+-]+:)"  # an emoji's code
    r"|^[#>]|^[-+=]+(?=\s|$)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"  # a heading, a quote, a list
)
_ENTITIES = re.compile(r"&(?=#?\w+;)|<")
_PLAIN_YAML = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[a-z][\w./-]*", re.IGNORECASE)


def to_markdown(findings: Findings, alarm: str = "") -> str:
    """Return the comparison as a Markdown document."""
    found = findings.comparison
    table = found.table
    parts = [f"# {escaped(table.experiment)}"]
    if alarm:
        parts.append(f"**{escaped(alarm)}**")
    if table.banner:
        parts.append(f"> **{escaped(table.banner)}**")
    parts += [escaped(". ".join(title(found))), pipes(main_grid(found))]
    parts.append("\n".join(f"- {escaped(line)}" for line in legend(found)))
    parts.append(f"**{escaped(headline(found))}**")
    parts += [text for grid in grids_of(findings) for text in (pipes(grid), escaped(grid.legend)) if text]
    parts += [
        f"**{escaped(heading)}**\n\n{pipes(grid)}" for heading, grid in (*more_grids(findings), *search_grids(findings))
    ]
    if others := [*findings.conclusions[1:], *findings.sentences]:
        parts.append("\n".join(f"- {escaped(sentence)}" for sentence in others))
    parts += [f"Scores: {escaped(signature)}." for signature in table.signatures]
    return "\n\n".join(parts) + "\n"


def pipes(grid: TextGrid) -> str:
    """Return a grid as a Markdown table."""
    titles = [escaped(one_line(head.title)) for head in grid.heads]
    rule = ["--:" if head.is_number else ":--" for head in grid.heads]
    rows = [[escaped(text) for text in row] for row in grid.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [titles, rule, *rows])


def escaped(text: str) -> str:
    """Return text in one line that Markdown prints as it is, in a paragraph, a list or a cell."""
    line = _INLINE.sub(lambda match: f"\\{match.group()}", visible_line(text).strip())
    return _ENTITIES.sub(lambda match: "&lt;" if match.group() == "<" else "&amp;", line)


def code(text: str, in_cell: bool = False) -> str:
    """Return text in one line as a code span; its pipes end a cell unless `in_cell`."""
    line = visible_line(text).replace("|", "\\|") if in_cell else visible_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    gap = " " if line[:1] in ("`", "") or line[-1:] in ("`", " ") else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def yaml(text: str) -> str:
    """Return text as a YAML scalar in one line."""
    return text if _PLAIN_YAML.fullmatch(text) else json.dumps(visible_line(text), ensure_ascii=False)
