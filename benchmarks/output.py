"""What a benchmark leaves: a table on the terminal, a dated section of RESULTS.md, and JSON for a program."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sweep.cli_support import command
from sweep.environment.devices import Device, resolve_device
from sweep.environment.provenance import provenance
from trainables.errors import UserError, one_of
from trainables.records import atomic_files
from trainables.records.manifest import SweepOrigin

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
WIDTH = 120
HEADER = """# Results

What the benchmarks printed, appended by each run; `make_work` in `work.py` says what all systems do. No row is an
estimate: one that was not measured says so, and one that was measured in part says how it was extended.
"""
PRECISIONS = ("fp32", "bf16", "fp16")

SizeOption = Annotated[str, typer.Option("--size", help="pocket (bundled), gpt2 (124M) or phi2 (NF4).")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="fp32, bf16, fp16 (GPU), or several: fp32,bf16.")]
RealOption = Annotated[
    Path | None, typer.Option("--real", help="Folder with tokenizers/gpt2, samsum; default: ../shared/real.")
]
ResultsOption = Annotated[Path, typer.Option("--results", help="File that the table is appended to.")]


def precisions(text: str) -> list[str]:
    """Return the precisions of an option; raises UserError for an unknown one."""
    return [one_of("--precision", part.strip(), PRECISIONS) for part in text.split(",")]


def positive(option: str, value: int) -> int:
    """Return a number of at least 1; raises UserError."""
    if value < 1:
        raise UserError(f"{option} must be at least 1, got {value}")
    return value


def numbers(option: str, text: str) -> list[int]:
    """Return the numbers of an option such as 1,2, in order; raises UserError."""
    try:
        found = {int(part) for part in text.split(",")}
    except ValueError:
        raise UserError(f"{option} must be numbers such as 1,2, got {text!r}") from None
    return sorted(positive(option, one) for one in found)


def device_of(asked: str, size: str) -> Device:
    """Return what to measure on; raises UserError for a device that is not there, or too small for the size."""
    found = resolve_device(asked, False, "this benchmark")
    if size == "phi2" and found.kind == "cpu":
        raise UserError("--size phi2 needs a GPU, for 2.8 G parameters; here it would be measured on a CPU")
    return found


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is text and whose others are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="", title_style="")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    for row in rows:
        made.add_row(*row)
    return made


def gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.2f} GB"


@dataclass(frozen=True)
class Findings:
    """Tables and sentences in the order of reading, and the same as one object."""

    name: str  # the command without `python -m benchmarks.`
    parts: Sequence[Table | str]
    facts: dict[str, Any]


def publish(findings: Findings, device: Device, results: Path, as_json: bool) -> None:
    """Print the tables, append them to the results, and print the object where a program asked."""
    made = provenance(device)
    text = _section(findings, made)
    there = results.read_text(encoding="utf-8") if results.exists() else HEADER
    atomic_files.write_text(results, f"{there.rstrip()}\n\n{text}")
    console = command.notes() if as_json else command.results()
    for part in findings.parts:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)
        console.print()
    if as_json:
        origin = made.model_dump(mode="json", exclude_unset=True)
        command.print_json({"benchmark": findings.name.split()[0], **findings.facts, "provenance": origin})


def _section(findings: Findings, made: SweepOrigin) -> str:
    """Return what is appended to the results: hardware, versions, date and commit above the tables."""
    hardware = ", ".join(made.gpus) or f"{made.processor}, {made.cores} cores"
    packages = made.packages
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "peft", "ray"))
    lines = [
        f"## `python -m benchmarks.{findings.name}`, {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC",
        "",
        f"{hardware}, {(made.memory_bytes or 0) / 2**30:.0f} GiB; Python {made.python}, {versions}; "
        f"commit {made.commit or 'unknown'}",
        "",
        "```text",
    ]
    for part in findings.parts:
        written = io.StringIO()
        Console(file=written, width=WIDTH, color_system=None).print(part)
        lines += [line.rstrip() for line in written.getvalue().splitlines()] + [""]
    return "\n".join([*lines[:-1], "```", ""])
