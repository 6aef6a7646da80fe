"""Text in Markdown is rendered to itself, wherever it stands: read by a renderer of CommonMark with tables."""

from __future__ import annotations

import re
import string
from html import unescape

import pytest
import yaml as library
from markdown_it import MarkdownIt

from analysis.render.markdown import code, escaped, pipes, yaml
from analysis.render.text_grids import Head, TextGrid

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXTS = [
    "plain words, 12.5% [1.6, 4.1] (p < .05) & more; lora_rank=8, e.g. R-L +2.9",
    "*a* **b** _c_ __d__ ~~e~~ `f` ``g``",
    "[l](http://e.example) ![i](u) [r][s] [t]: http://u <http://v> [[w]] [^1] - [ ] [x]",
    "<script>alert(1)</script> <!-- c --> &amp; &lt; &#x3c; AT&T",
    "a | b || \\| \\\\| c \\",
    "# h", "## h", "#", "> q", "- l", "+ l", "* l", "1. l", "12) l", "---", "===", "***", "~~~", "```",
    "    code", "-0.53", "+2.9",
    "a\nb\r\n\n# c",
    "\\*not\\*",
    "$x^2$ and $y$",
    "trailing  ",
    "https://e.example and www.e.example",
    string.punctuation,
]  # fmt: skip


def shown(text: str) -> str:
    """Return what a reader is to see: controls as codes, spaces as HTML joins them."""
    return re.sub(r"\s+", " ", text.replace("\r", r"\r").replace("\n", r"\n")).strip()


def rendered(markdown: str, tag: str) -> list[str]:
    html = RENDERER.render(markdown)
    found = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", html, flags=re.DOTALL)
    assert not re.search(r"<(?!/?(?:p|ul|li|strong|h1|table|thead|tbody|tr|th|td|code)\b)", html), html
    return [re.sub(r"\s+", " ", unescape(one)).strip() for one in found]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_rendered_to_itself(text: str) -> None:
    assert rendered(escaped(text), "p") == [shown(text)]
    assert rendered(f"- {escaped(text)}", "li") == [shown(text)]
    assert rendered(f"# {escaped(text)}", "h1") == [shown(text)]
    assert rendered(f"**x {escaped(text)} y**", "strong") == [f"x {shown(text)} y"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_is_rendered_to_its_text_and_ends_no_cell(text: str) -> None:
    grid = TextGrid((Head(text, is_number=False), Head("n")), ((text, "1"), ("b", "2")), ("", ""))
    assert rendered(pipes(grid), "th") == [shown(text.replace("-\n", "").replace("\n", " ")), "n"]
    assert rendered(pipes(grid), "td") == [shown(text), "1", "b", "2"]


@pytest.mark.parametrize("text", [*TEXTS, "`", "``a`", " a ", ""])
def test_a_code_span_is_rendered_to_its_text(text: str) -> None:
    if text:
        assert [one.strip() for one in rendered(code(text), "code")] == [shown(text)]
    grid = f"| a | b |\n| :-- | :-- |\n| {code(text, in_cell=True)} | c |"
    assert rendered(grid, "td")[1] == "c"


YAML = ["gpt2", "org/model-1.5_b", "yes", "null", "1e5", "123", "a: b", "'", '"', "- x", "@a", ""]


@pytest.mark.parametrize("text", [*TEXTS, *YAML])
def test_a_yaml_value_is_read_as_its_text(text: str) -> None:
    wanted = text.replace("\r", r"\r").replace("\n", r"\n")
    assert library.safe_load(f"key: {yaml(text)}\nother: 1") == {"key": wanted, "other": 1}


@pytest.mark.parametrize(
    "text", ["B minus it +2.90 [1.6, 4.1]; n = 8 (†)", "zero-shot v1", "grid_2x2x2", "a & b", "50%"]
)
def test_what_needs_no_escape_has_none(text: str) -> None:
    assert escaped(text) == text
