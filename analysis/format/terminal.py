"""Everything printed to a terminal goes through here: no text from data acts as markup, emoji code or escape.

rich is imported here alone. Strings, `text` and `cell` show control characters as their codes before anything is
measured, so that tables stay straight; what a `Terminal` is given in another way is made visible as it is rendered.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from trainables.visible_text import json_text, visible, visible_line

__all__ = ["Console", "Live", "Table", "Terminal", "Text", "cell", "cell_len", "notes", "print_json", "results", "text"]

PLAIN_WIDTH = 120  # of tables, where no terminal says its own
LITERAL = {"markup": False, "emoji": False, "highlight": False}


class Terminal(Console):
    """A console that prints every string as it is, with its control characters visible."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, **LITERAL})

    def on_broken_pipe(self) -> None:
        """Say that nobody reads any more; the library would leave with 1."""
        raise BrokenPipeError

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; what is said beside the results goes on in silence where nobody can read it any more."""
        try:
            super().print(*objects, **options)
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text without a meaning of its own."""
        return super().render_str(visible(text), **{**options, **LITERAL})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything; rich's own segments alone may steer the terminal."""
        for one in super().render(renderable, options):
            yield one if one.control else Segment(visible(one.text), one.style)


class Table(RichTable):
    """A table with a rule below its heads; a string in a row is one line of literal text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, **options})

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(cell(one) if isinstance(one, str) else one for one in cells), **options)


def results() -> Terminal:
    """Return the console of results (stdout): 120 columns wide where that is no terminal."""
    plain = not sys.stdout.isatty() and not os.environ.get("COLUMNS")
    return Terminal(width=PLAIN_WIDTH if plain else None)


def notes(**options: Any) -> Terminal:
    """Return the console of banners, progress and errors (stderr)."""
    return Terminal(**{"stderr": True, "soft_wrap": True, **options})


def text(content: str, style: str = "") -> Text:
    """Return literal text; line breaks and tabs stay."""
    return Text(visible(content), style)


def cell(content: str, style: str = "") -> Text:
    """Return literal text in one line, for a cell of a table or a heading."""
    return Text(visible_line(content), style)


def any_letter_can_be_printed() -> None:
    """Let a terminal without Unicode show the code of a letter that it does not know, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(content: Any) -> None:
    """Write a result for a program to stdout."""
    sys.stdout.write(json_text(content, default=str) + "\n")
