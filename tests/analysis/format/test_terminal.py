"""One door to the terminal: what data say is neither markup nor escape; kept by the syntax trees of all modules."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from analysis.format.terminal import Table, Terminal, cell, notes

ROOT = Path(__file__).resolve().parents[3]
DOOR = Path("analysis/format/terminal.py")
DIRECT = {"print", "pprint", "pprint.pprint", "typer.echo", "typer.secho", "click.echo", "click.secho", "os.write"}
DIRECT |= {"warnings.warn", "traceback.print_exc", "traceback.print_exception", "input"}
LOGGED = {"debug", "info", "warning", "error", "critical", "exception", "log"}
OWN_TOOLS = {Path("trainables/pocket/pretrain.py")}  # makes the bundled model; prints its own numbers alone
STREAMS = {
    "sys.stdout",
    "sys.stderr",
    "sys.__stdout__",
    "sys.__stderr__",
    "os",
    "sys.stdout.buffer",
    "sys.stderr.buffer",
}
SAFE = {"visible", "visible_line", "json_text", "usage"}  # what may be written to a stream: text made so
HOSTILE = "a[bold]b[/]c[/red] :smile: \x1b[31mred\x9b0m\u202egnp\x07\r\x00 [link=x]d[/link] https://e.example/ 12 'x'"
SHOWN = r"a[bold]b[/]c[/red] :smile: \x1b[31mred\x9b0m\u202egnp\x07\r\x00 [link=x]d[/link] https://e.example/ 12 'x'"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printed(*objects: object, **options: object) -> str:
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, color_system="truecolor", width=300)
    terminal.print(*objects, **options)  # type: ignore[arg-type]
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())  # rich's own styles


def table_of(one: object) -> Table:
    made = Table(title=HOSTILE, caption=HOSTILE)
    made.add_column(HOSTILE)
    made.add_row(one)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("way", [HOSTILE, Text(HOSTILE, "bold"), cell(HOSTILE, "red"), table_of(HOSTILE)])
def test_a_text_is_printed_as_it_is_whatever_way_it_comes(way: object) -> None:
    lines = printed(way, style="bold").splitlines()
    assert not any(STEERS.search(line) for line in lines)
    # rich itself drops some controls from a Text that was not made here; none may be obeyed.
    wanted = SHOWN if not isinstance(way, Text) or way.plain == SHOWN else SHOWN.replace(r"\x07\r", "")
    assert any(wanted in line for line in lines), lines


def test_nothing_turns_markup_on() -> None:
    terminal = Terminal(file=io.StringIO(), markup=True, emoji=True, highlight=True)
    terminal.print("[b]x[/b] :smile:", markup=True, emoji=True, highlight=True)
    assert terminal.file.getvalue() == "[b]x[/b] :smile:\n"  # type: ignore[attr-defined]


def test_columns_are_as_wide_as_what_is_shown() -> None:
    made = Table()
    made.add_column("name")
    made.add_column("state")
    for name in ("\x1b[31mA", "[red]B", "C\nD"):
        made.add_row(name, "done")
    rows = [line for line in printed(made).splitlines() if "done" in line]
    assert len(rows) == 3
    assert len({line.index("done") for line in rows}) == 1


def test_errors_go_through_the_same_door(capsys: pytest.CaptureFixture[str]) -> None:
    notes().print(HOSTILE)
    assert capsys.readouterr().err == f"{SHOWN}\n"


# --- structure -------------------------------------------------------------------------------------------------------


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def ways_out(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and name of everything that could write text to a terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"import {one.name}") for one in node.names if one.name.split(".")[0] == "rich")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich":
            yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            of, _, method = name.rpartition(".")
            if name in DIRECT or (name.startswith(("logging.", "logger.")) and method in LOGGED):
                yield node.lineno, name
            elif of in STREAMS and method in ("write", "writelines"):
                made_by = {dotted(one.func) for one in node.args if isinstance(one, ast.Call)}
                if len(made_by) < len(node.args) or not made_by <= SAFE:
                    yield node.lineno, name


def test_every_way_to_the_terminal_is_through_one_module() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for room in ("sweep", "analysis", "search_spaces", "trainables")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.relative_to(ROOT) not in {DOOR, *OWN_TOOLS}
        for line, what in ways_out(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "from rich.console import Console",
        "import rich.markup",
        "print(f'{name}')",
        "import sys\nsys.stdout.write(f'{name}')",
        "import sys\nsys.stderr.write('a' + name)",
        "typer.echo(name)",
        "warnings.warn(name)",
        "traceback.print_exc()",
        "logging.warning(name)",
    ],
)
def test_another_way_out_would_be_found(code: str) -> None:
    assert list(ways_out(ast.parse(code)))
